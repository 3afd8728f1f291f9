"""What checkov, a scanner of manifests, finds.

Choices: the checks that can say something about these manifests are listed, so that a new version of checkov changes
nothing by itself; each that is left out is left out for a reason. What speaks of the cluster's own programs (their
flags) or of software that is not here is not listed.
"""

import json
import os
import subprocess
from pathlib import Path

from tests.k8s.manifests import Finding

CHECKS = (
    *(f"CKV_K8S_{number}" for number in (8, 9, 10, 11, 12, 13, 14, 16, 17, 18, 19, 20, 21, 22, 23, 25, 26, 27, 28)),
    *(f"CKV_K8S_{number}" for number in (29, 30, 31, 37, 38, 39, 40, 41, 42, 49, 155, 156, 157, 158)),
    *(f"CKV2_K8S_{number}" for number in (1, 2, 3, 4, 5, 6)),
)
SKIPPED = {
    "CKV_K8S_15": "pull policy Always: tags are never used twice, and pods must start while the registry is away",
    "CKV_K8S_35": "secrets as files: Valkey's password is part of an address that programs read from the environment",
    "CKV_K8S_43": "digests: an installation pins them (kustomize edit set image); a repository cannot know them",
}
"""Check → why it is not asked."""
EXCEPTIONS = {
    ("CKV_K8S_38", "prometheus"): "asks Kubernetes which pods there are",
    ("CKV_K8S_38", "prometheus-adapter"): "is a part of the Kubernetes API",
}
"""Check and name of the object of which it does not hold → why."""


def policy_findings(manifests: Path, checkov: Path) -> list[Finding]:
    """What the listed checks find in a file or folder of manifests, by their ids; `checkov-failed` where it could not
    look."""
    command = [str(checkov), "--framework", "kubernetes", "--check", ",".join(CHECKS), "--output", "json"]
    command += ["--skip-download", "--compact", "--directory" if manifests.is_dir() else "--file", str(manifests)]
    surroundings = os.environ | {"LOG_LEVEL": "ERROR", "ANSI_COLORS_DISABLED": "1"}
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=surroundings)
    try:
        report = json.loads(run.stdout)
        failed, passed = report["results"]["failed_checks"], report["summary"]["passed"]
    except (ValueError, KeyError, TypeError):
        return [Finding("checkov-failed", str(manifests), (run.stdout + run.stderr).strip()[-2000:])]
    if not passed or report["summary"]["parsing_errors"]:
        return [Finding("checkov-failed", str(manifests), f"{report['summary']}")]
    return [
        Finding(one["check_id"], one["resource"], one["check_name"])
        for one in failed
        if (one["check_id"], one["resource"].split(".")[2]) not in EXCEPTIONS
    ]
