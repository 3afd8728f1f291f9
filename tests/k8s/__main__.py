"""`make k8s-check`: renders every overlay and every component, and says what is wrong; exit status 1 if anything is."""

import shutil
import sys
from pathlib import Path

from tests.conftest import REPOSITORY_ROOT
from tests.k8s.checks import findings
from tests.k8s.manifests import Finding, Object, RenderError, dumped, parsed, prepared, rendered
from tests.k8s.overlays import K8S, TOOLS
from tests.k8s.policy import policy_findings
from tests.k8s.schema import schema_findings


def main(out: Path = REPOSITORY_ROOT / "build/k8s") -> int:
    """Check all; returns the exit status."""
    faults, distinct = 0, dict[str, Object]()
    overlays = sorted(prepared(K8S, out).iterdir())
    manifests = out / "rendered"
    shutil.rmtree(manifests, ignore_errors=True)
    manifests.mkdir(parents=True)
    for overlay in overlays:
        path = manifests / f"{overlay.name}.yaml"
        try:
            path.write_text(rendered(overlay, TOOLS / "kubectl"))
        except RenderError as error:
            faults += _told(overlay.name, [Finding("does-not-render", overlay.name, str(error))])
            continue
        objects = parsed(path.read_text())
        distinct |= {dumped([one]): one for one in objects}
        faults += _told(overlay.name, findings(objects))
        print(f"{overlay.name}: {len(objects)} objects", flush=True)
    every = out / "distinct.yaml"
    every.write_text(dumped(list(distinct.values())))
    faults += _told("schema", schema_findings(every, TOOLS / "kubernetes-validate"))
    faults += _told("checkov", policy_findings(manifests, TOOLS / "checkov"))
    print(f"{len(overlays)} overlays, {faults} findings")
    return 1 if faults else 0


def _told(overlay: str, found: list[Finding]) -> int:
    for finding in found:
        print(f"{overlay}: {finding.name}: {finding.where}: {finding.what}", flush=True)
    return len(found)


if __name__ == "__main__":
    sys.exit(main())
