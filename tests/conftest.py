"""Fixtures that tests of several folders share."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from services.stack import Stack
    from tests.trained_shop import TrainedShop

REPOSITORY_ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def triton_venv() -> Path:
    """Where Triton is installed."""
    return Path(os.environ.get("AISLE_TRITON_VENV", REPOSITORY_ROOT / ".venv-triton"))


@pytest.fixture(scope="session")
def trained_shop(tmp_path_factory: pytest.TempPathFactory) -> "TrainedShop":
    """The synthetic shop with a bundle trained on it."""
    from tests.trained_shop import train_shop  # noqa: PLC0415 - imports torch, which most tests do without

    return train_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="session")
def shop_stack(trained_shop: "TrainedShop", triton_venv: Path) -> Iterator["Stack"]:
    """The whole suite serving that bundle."""
    from services.stack import running_stack  # noqa: PLC0415 - as above

    with running_stack(trained_shop.stack_config(triton_venv)) as stack:
        yield stack
