"""Servers shared by the integration tests: real ones, on loopback ports that the system chose."""

import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.common.process import free_port
from services.common.scorer import TritonScorer
from services.common.towers import TowerModels
from services.common.valkey import ValkeyConfig, start_valkey
from services.triton.embedded import EmbeddedTriton, start_triton
from services.triton.repository import build_repository
from tests.fakes import FakeScorer
from tests.integration.known_service import serving
from tests.integration.known_shop import release
from tests.integration.tiny_service import RunningService, TinyShopOnDisk, running_service
from tests.tiny_bundle import write_tiny_bundle

REPOSITORY_ROOT = Path(__file__).parents[2]
TRITON_VENV = Path(os.environ.get("AISLE_TRITON_VENV", REPOSITORY_ROOT / ".venv-triton"))
"""The virtual environment made by `make .venv-triton`."""


@dataclass(frozen=True, slots=True)
class TinyTriton:
    """A real Triton that serves the tiny towers, and the same towers in this process."""

    process: EmbeddedTriton
    repository: Path
    models: TowerModels
    oracle: FakeScorer


@pytest.fixture(scope="session")
def tiny_triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyTriton]:
    """Shared by all tests: load and unload other models in it, but leave these two and the process alone."""
    directory = tmp_path_factory.mktemp("triton")
    write_tiny_bundle(directory / "bundle", "tiny.1", seed=1)
    models = build_repository(directory / "bundle", "cpu", directory / "repository")
    with start_triton(directory / "repository", models, directory / "work", TRITON_VENV) as process:
        names = TowerModels.of_version("tiny.1")
        yield TinyTriton(process, directory / "repository", names, FakeScorer.of_bundle(directory / "bundle"))


@pytest.fixture
async def triton_scorer(tiny_triton: TinyTriton) -> AsyncIterator[TritonScorer]:
    """A connection to the shared Triton."""
    scorer = TritonScorer(tiny_triton.process.grpc_address, tiny_triton.models)
    yield scorer
    await scorer.close()


@pytest.fixture(scope="session")
def valkey_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Host and port of a real Valkey, shared by all tests: each uses keys of its own and leaves the process alone."""
    port = free_port()
    with start_valkey(ValkeyConfig(tmp_path_factory.mktemp("valkey"), port, append_only=False)):
        yield f"127.0.0.1:{port}"


@pytest.fixture(scope="session")
def served_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyShopOnDisk]:
    """The tiny shop with a real Valkey that holds its shoppers and a real Triton, which all tests leave alone."""
    shop = TinyShopOnDisk(tmp_path_factory.mktemp("shop"))
    with shop.start_valkey(), shop.start_triton(TRITON_VENV):
        shop.materialise()
        yield shop


@pytest.fixture(scope="session")
async def ranking(served_shop: TinyShopOnDisk) -> AsyncIterator[RunningService]:
    """The ranking service over that shop, assembled as in its own process."""
    async with running_service(served_shop.settings(), served_shop.release) as running:
        yield running


@pytest.fixture(scope="session")
async def known() -> AsyncIterator[RunningService]:
    """The ranking service over the known shop, with stand-ins behind it."""
    async with serving(release()) as running:
        yield running
