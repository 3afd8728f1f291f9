"""Fixtures that tests of several folders share."""

import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import pytest

# Feast's import asks Prometheus' client to keep values in files, of this process and of those that it starts: a worker
# of pytest's must not inherit that, and imports the client before it imports Feast.
for _name in ("PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_MULTIPROCESS_DIR", "prometheus_multiproc_dir"):
    os.environ.pop(_name, None)
import prometheus_client  # noqa: E402, F401

if TYPE_CHECKING:
    from services.stack import Stack
    from tests.trained_shop import TrainedShop

REPOSITORY_ROOT = Path(__file__).parent.parent
P = ParamSpec("P")
R = TypeVar("R")


def untraced(call: Callable[P, R]) -> Callable[P, R]:
    """The same call, of which whoever traces this thread sees nothing."""

    @functools.wraps(call)
    def run(*arguments: P.args, **named: P.kwargs) -> R:
        tracer = sys.gettrace()
        sys.settrace(None)
        try:
            return call(*arguments, **named)
        finally:
            sys.settrace(tracer)

    return run


@pytest.fixture(scope="session", autouse=True)
def untraced_exports() -> Iterator[None]:
    """Coverage is told every line that Python runs; exporting a tower runs many and none of those that are covered."""
    exporting = sys.modules.get("torch.onnx")  # there if a test that was collected imports it
    with pytest.MonkeyPatch.context() as patch:
        if exporting is not None:
            patch.setattr(exporting, "export", untraced(exporting.export))
        yield


@pytest.fixture(scope="session")
def triton_venv() -> Path:
    """Where Triton is installed."""
    return Path(os.environ.get("AISLE_TRITON_VENV", REPOSITORY_ROOT / ".venv-triton"))


@pytest.fixture(scope="session")
def trained_shop(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> "TrainedShop":
    """The synthetic shop with a bundle trained on it, by the first of pytest's workers that asks; each has a copy."""
    from tests.trained_shop import copied_shop  # noqa: PLC0415 - imports torch, which most tests do without

    base = tmp_path_factory.getbasetemp()
    common = base if worker_id == "master" else base.parent
    return copied_shop(common / "trained-shop", tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="session")
def shop_stack(trained_shop: "TrainedShop", triton_venv: Path) -> Iterator["Stack"]:
    """The whole suite serving that bundle, with time enough for a busy machine."""
    from services.stack import running_stack  # noqa: PLC0415 - as above

    with ExitStack() as running:
        with pytest.MonkeyPatch.context() as patch:
            for step in ("FEATURES", "INTEREST", "RETRIEVAL"):
                patch.setenv(f"AISLE_{step}_TIMEOUT_MS", "5000")
            stack = running.enter_context(running_stack(trained_shop.stack_config(triton_venv)))
        yield stack
