"""Where Triton lies in the virtual environment that holds it, and whether it can run there.

The wheel `nvidia-pytriton` carries the server, its Python backend and one backend stub per version of Python. It needs
an older numpy than Feast does, hence an environment of its own. The stub starts Python in isolated mode: it ignores
PYTHONPATH and takes the environment whose `python3` comes first in PATH. Knows nothing of models.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path


class TritonEnvironmentError(Exception):
    """The virtual environment has no Triton that runs; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class TritonEnvironment:
    """The parts of Triton in one virtual environment."""

    server: Path
    """The program `tritonserver`."""
    backend_files: tuple[Path, ...]
    """What the Python backend's directory must hold, the stub for the environment's Python included."""
    variables: dict[str, str]
    """The environment variables that the server runs with."""


def find_environment(venv: Path) -> TritonEnvironment:
    """The parts of Triton in the virtual environment `venv`.

    Raises:
        TritonEnvironmentError: A part is missing, numpy is too new, or a shared library cannot be found.
    """
    packages = next(venv.resolve().glob("lib/python3.*/site-packages"), venv)
    root = packages / "pytriton" / "tritonserver"
    stub = root / "python_backend_stubs" / packages.parent.name.removeprefix("python") / "triton_python_backend_stub"
    if not stub.is_file():
        raise TritonEnvironmentError(f"{venv}: holds no Triton; run `make .venv-triton`, or set AISLE_TRITON_VENV")
    if not any(packages.glob("numpy-1.*.dist-info")):
        # The backend was built for numpy 1; with numpy 2 every output comes back empty, without an error.
        raise TritonEnvironmentError(f"{packages}: Triton's Python backend needs numpy < 2; run `make .venv-triton`")
    variables = _variables(venv.resolve(), packages)
    _require_libraries(stub, variables)
    backend_files = (*(root / "backends" / "python").glob("*.*"), stub)
    return TritonEnvironment(server=root / "bin" / "tritonserver", backend_files=backend_files, variables=variables)


def prepare_backends(environment: TritonEnvironment, directory: Path) -> None:
    """Fill a backend directory with links to the Python backend, for `tritonserver --backend-directory`."""
    python = directory / "python"
    python.mkdir(parents=True, exist_ok=True)
    for path in environment.backend_files:
        link = python / path.name
        if not (link.is_symlink() and link.readlink() == path):
            link.unlink(missing_ok=True)
            link.symlink_to(path)


def _variables(venv: Path, packages: Path) -> dict[str, str]:
    libraries = [packages / "nvidia_pytriton.libs"]
    base = (venv / "bin" / "python3").resolve().parents[1] / "lib"  # of the Python that the environment was made with
    if any(base.glob("libpython3*.so*")):
        libraries.append(base)
    return {
        **os.environ,
        "PATH": f"{venv / 'bin'}:{os.environ.get('PATH', os.defpath)}",
        "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
        "ORT_DISABLE_TELEMETRY": "1",  # since 1.29 ONNX Runtime reports every session to its maker
    }


def _require_libraries(stub: Path, variables: dict[str, str]) -> None:
    run = subprocess.run(["ldd", str(stub)], env=variables, capture_output=True, text=True, check=False)  # noqa: S603, S607
    missing = [line.split()[0] for line in run.stdout.splitlines() if "not found" in line]
    if missing:
        raise TritonEnvironmentError(f"{stub}: needs {', '.join(missing)}, which this machine lacks")
