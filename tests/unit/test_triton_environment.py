"""A virtual environment without a Triton that runs is refused with what to do about it."""

import os
from pathlib import Path

import pytest

from services.triton.environment import TritonEnvironmentError, find_environment, prepare_backends

STUB = "lib/python3.11/site-packages/pytriton/tritonserver/python_backend_stubs/3.11/triton_python_backend_stub"


def environment(venv: Path, numpy: str = "1.26.4", stub: str = STUB) -> Path:
    """As much of a virtual environment with Triton as is looked at."""
    packages = venv / "lib/python3.11/site-packages"
    for path in (venv / stub, packages / "pytriton/tritonserver/backends/python/libtriton_python.so"):
        path.parent.mkdir(parents=True)
        path.write_bytes(Path("/bin/true").read_bytes())
    (packages / f"numpy-{numpy}.dist-info").mkdir()
    (venv / "bin").mkdir()
    return venv


def test_a_missing_environment_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(TritonEnvironmentError, match=r"nowhere: holds no Triton; run `make \.venv-triton`"):
        find_environment(tmp_path / "nowhere")


def test_an_environment_of_a_python_that_triton_has_no_stub_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TritonEnvironmentError, match="holds no Triton"):
        find_environment(environment(tmp_path, stub=STUB.replace("3.11/triton", "3.12/triton")))


def test_an_environment_with_numpy_2_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TritonEnvironmentError, match="needs numpy < 2"):
        find_environment(environment(tmp_path, numpy="2.4.6"))


def test_a_library_that_the_machine_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "tools" / "ldd"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho '\tlibpython3.11.so.1.0 => not found'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    with pytest.raises(TritonEnvironmentError, match=r"stub: needs libpython3\.11\.so\.1\.0, which this machine lacks"):
        find_environment(environment(tmp_path / "venv"))


def test_the_environments_python_comes_first_for_the_server(tmp_path: Path) -> None:
    found = find_environment(environment(tmp_path))
    assert found.variables["PATH"].split(":")[0] == str(tmp_path / "bin")
    assert found.variables["LD_LIBRARY_PATH"].split(":")[0].endswith("site-packages/nvidia_pytriton.libs")


def test_the_backend_directory_is_filled_anew_when_the_environment_moved(tmp_path: Path) -> None:
    for name in ("old", "new"):
        prepare_backends(find_environment(environment(tmp_path / name)), tmp_path / "backends")
    links = {path.name: path.readlink() for path in (tmp_path / "backends" / "python").iterdir()}
    assert links.keys() == {"libtriton_python.so", "triton_python_backend_stub"}
    assert all((tmp_path / "new") in target.parents for target in links.values())
