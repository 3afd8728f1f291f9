"""What Kubernetes' own schemas say about manifests, by kubernetes-validate.

Choices: strict, in every version that is supported, and a kind without a schema is a fault: it is one that a version
has removed.
"""

import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.k8s.manifests import Finding

VERSIONS = ("1.35.0", "1.36.0", "1.37.0")
"""Those that Kubernetes itself supports."""

_ERROR = re.compile(r"did not validate for resource (\S+) against version (\S+): (.*?): (.*)")
_NAMES = (
    ("Additional properties are not allowed", "unknown-field"),
    ("is a required property", "missing-field"),
    ("is not of type", "wrong-type"),
)


def schema_findings(manifests: Path, validator: Path, versions: Sequence[str] = VERSIONS) -> list[Finding]:
    """Faults of a file of manifests: unknown-field, missing-field, wrong-type, removed-api-version, invalid."""
    found: dict[Finding, None] = {}
    for version in versions:
        command = [str(validator), "--kubernetes-version", version, "--strict", "--quiet", str(manifests)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        faults = list(_read(run.stdout))
        if run.returncode and not faults:
            faults = [Finding("invalid", str(manifests), (run.stdout + run.stderr).strip())]
        found |= dict.fromkeys(faults)
    return list(found)


def _read(output: str) -> Iterator[Finding]:
    for line in output.splitlines():
        if match := _ERROR.search(line):
            where, version, path, words = match.groups()
            name = next((name for part, name in _NAMES if part in words), "invalid")
            yield Finding(name, where, f"{path}: {words} ({version})")
        elif "Couldn't find schema" in line:
            yield Finding("removed-api-version", line.partition("for kind ")[2].split()[0], line.partition("Could")[2])
        elif line.strip():
            yield Finding("invalid", "", line)
