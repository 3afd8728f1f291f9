"""What is committed in k8s/ is without a fault, and every fault that is planted is caught by its name."""

from pathlib import Path

import pytest

from tests.k8s.__main__ import main
from tests.k8s.checks import findings
from tests.k8s.faults import FAULTS, Fault, planted
from tests.k8s.manifests import Objects, dumped
from tests.k8s.overlays import TOOLS, every_overlay
from tests.k8s.schema import VERSIONS, schema_findings

BY_SCHEMA = {"unknown-field", "wrong-type", "missing-field", "removed-api-version"}


@pytest.fixture(scope="module")
def production() -> Objects:
    """What the overlay renders to."""
    return every_overlay()["production"]


def test_the_manifests_as_they_are_have_no_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(tmp_path)
    assert status == 0, capsys.readouterr().out


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_caught_by_name(fault: Fault, production: Objects, tmp_path: Path) -> None:
    objects = planted(production, fault)
    if fault.caught_as in BY_SCHEMA:
        changed = [one for one, before in zip(objects, production, strict=True) if one != before]
        path = tmp_path / "changed.yaml"
        path.write_text(dumped(changed))
        found = schema_findings(path, TOOLS / "kubernetes-validate", VERSIONS[-1:])
    else:
        found = findings(objects)
    assert {finding.name for finding in found} == {fault.caught_as}


def test_there_are_as_many_faults_as_were_promised() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 25
