"""`python -m services.triton` as a process: it serves the promoted bundle, or says why not."""

import os
import sys
from pathlib import Path

import psutil
import pytest

from features import bundle as files
from services.common.process import ManagedProcess
from tests.integration.conftest import REPOSITORY_ROOT, TRITON_VENV
from tests.tiny_bundle import write_tiny_towers

SECONDS = 20.0


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    """A promoted bundle with the tiny towers; its other files are there, and that is all."""
    with files.write_bundle(tmp_path, "tiny.1", {"as_of": "2017-12-01T00:00:00+00:00"}) as draft:
        write_tiny_towers(draft, seed=1)
        for name in files.FILES:
            if not (draft / name).exists():
                (draft / name).write_text(name)
    (tmp_path / "serving").write_text("tiny.1\n")
    return tmp_path


def run_service(bundles: Path, *arguments: str) -> ManagedProcess:
    settings = {
        "AISLE_BUNDLES": str(bundles),
        "AISLE_TRITON_VENV": str(TRITON_VENV),
        "AISLE_TRITON_WORK_DIR": str(bundles / "work"),
        **{f"AISLE_TRITON_{kind}_PORT": "0" for kind in ("GRPC", "HTTP", "METRICS")},
    }
    return ManagedProcess(
        "triton service",
        [sys.executable, "-m", "services.triton", *arguments],
        log_path=bundles / "service.log",
        environment=os.environ | settings,
        working_directory=REPOSITORY_ROOT,
    )


def is_serving(service: ManagedProcess) -> bool:
    return "serving at 127.0.0.1:" in service.log()


def test_the_service_serves_the_promoted_bundle_until_it_is_told_to_stop(bundles: Path) -> None:
    with run_service(bundles) as service:
        service.wait_ready(lambda: is_serving(service), 30.0)
        (server,) = psutil.Process(service.pid).children()
        assert service.stop(20.0) == 0
    assert not server.is_running()


def test_the_service_ends_with_an_error_when_its_server_does(bundles: Path) -> None:
    with run_service(bundles) as service:
        service.wait_ready(lambda: is_serving(service), 30.0)
        (server,) = psutil.Process(service.pid).children()
        server.kill()
        assert service.wait(SECONDS) == 1
        assert "the server ended with status -9" in service.log()


def test_the_service_refuses_a_bundle_with_one_flipped_byte_and_names_the_file(bundles: Path) -> None:
    model = bundles / "tiny.1" / files.TEXT_TOWER
    damaged = bytearray(model.read_bytes())
    damaged[1000] ^= 1
    model.write_bytes(damaged)
    with run_service(bundles) as service:
        assert service.wait(SECONDS) == 1
        assert f"{model}: sha256 differs" in service.log()


def test_the_gpu_targets_repository_is_built_without_a_server(bundles: Path) -> None:
    with run_service(bundles, "build", "--target", "gpu", "--out", str(bundles / "repository")) as command:
        assert command.wait(SECONDS) == 0
    models = sorted(path.name for path in (bundles / "repository").iterdir())
    assert models == [f"{part}_tiny_1" for part in ("interest_tower", "text_encoder", "text_tokenizer", "text_tower")]


def test_a_fault_ends_the_command_with_one_line_that_says_what_it_is(tmp_path: Path) -> None:
    with run_service(tmp_path) as command:
        assert command.wait(SECONDS) == 1
    expected = f"python -m services.triton: {tmp_path}/serving: no bundle has been promoted yet\n"
    assert command.log() == expected
