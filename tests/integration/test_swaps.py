"""Bundles are swapped under the running services: real Triton, real Valkey, and shoppers who keep asking."""

import asyncio
import copy
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from features.bundle import promote
from services.common.pointer import Pointer, following
from services.common.process import ManagedProcess, free_port
from services.common.scorer import TritonScorer
from services.common.server import running_server
from services.ranking.ordering import RankedList
from services.ranking.release import load_release
from services.retrieval.app import RetrievalSettings, load_servicer, registration
from tests.fakes import FakeScorer
from tests.integration.conftest import REPOSITORY_ROOT, TRITON_VENV
from tests.integration.tiny_service import (
    RunningService,
    TinyShopOnDisk,
    assert_lists,
    degradations,
    running_service,
)
from tests.second_bundle import quieten, rewritten
from tests.tiny_shop import AS_OF, write_shop_bundle

VERSIONS = ("tiny.1", "tiny.2")
SWAPS = 4
CALLERS = 3
POLL_SECONDS = 0.05
SWAP_SECONDS = 120.0
READY_SECONDS = 60.0
LOG = "triton-service.log"


class SwappingShop:
    """Two bundles whose every part differs, and what each alone would answer."""

    def __init__(self, folder: Path) -> None:
        first = TinyShopOnDisk(folder)
        self.bundles = folder / "bundles"
        second = copy.copy(first)
        another = write_shop_bundle(folder / "another", seed=2)  # whose interest tower is the first one's
        second.bundle = rewritten(another, self.bundles, "tiny.2", quieten)
        second.release = load_release(second.bundle)
        second.oracle = FakeScorer.of_bundle(second.bundle.root)
        self.of_version = dict(zip(VERSIONS, (first, second), strict=True))
        self.first = first
        self.promote("tiny.1")

    def promote(self, version: str) -> None:
        promote(self.bundles, version, "a test", AS_OF)

    async def expected(self) -> dict[tuple[str, str], RankedList]:
        """Version and shopper → list."""
        return {
            (version, user_id): shop.recommended(user_id, await shop.interest(user_id))
            for version, shop in self.of_version.items()
            for user_id in shop.users["user_id"]
        }


def triton_service(shop: SwappingShop, folder: Path, **settings: str) -> ManagedProcess:
    """`python -m services.triton` at the port where the shop's services look for it."""
    environment = {
        "AISLE_BUNDLES": str(shop.bundles),
        "AISLE_SWAP_POLL_SECONDS": str(POLL_SECONDS),
        "AISLE_TRITON_VENV": str(TRITON_VENV),
        "AISLE_TRITON_WORK_DIR": str(folder / "work"),
        "AISLE_TRITON_GRPC_PORT": shop.first.settings().triton_address.rpartition(":")[2],
        "AISLE_TRITON_HTTP_PORT": "0",
        "AISLE_TRITON_METRICS_PORT": "0",
    }
    return ManagedProcess(
        "triton service",
        [sys.executable, "-m", "services.triton"],
        log_path=folder / LOG,
        environment=os.environ | environment | settings,
        working_directory=REPOSITORY_ROOT,
    )


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwappingShop]:
    """With Valkey and Triton running; tiny.2 is the shadow, so that its towers are always there."""
    folder = tmp_path_factory.mktemp("swaps")
    shop = SwappingShop(folder)
    with shop.first.start_valkey(), triton_service(shop, folder) as triton:
        shop.first.materialise()
        triton.wait_ready(lambda: "serving at 127.0.0.1:" in (folder / LOG).read_text(), READY_SECONDS)
        yield shop


async def until_version(service: RunningService, version: str) -> None:
    async with asyncio.timeout(SWAP_SECONDS):
        while (await service.recommended_for("user-1")).bundle_version != version:
            await asyncio.sleep(POLL_SECONDS)


@asynccontextmanager
async def callers(service: RunningService, shop: SwappingShop) -> AsyncIterator[dict[str, int]]:
    """Shoppers who ask all the time, each answer compared; how many answers each version gave."""
    expected, answers, over = await shop.expected(), dict.fromkeys(VERSIONS, 0), asyncio.Event()

    async def ask(offset: int) -> None:
        number = offset
        while not over.is_set():
            user_id = f"user-{number % len(shop.first.users)}"
            reply = await service.recommended_for(user_id)
            assert degradations(reply) == []
            version = reply.bundle_version
            assert_lists(reply, expected[version, user_id], shop.of_version[version].release)
            answers[version] += 1
            number += CALLERS

    async with asyncio.TaskGroup() as group:
        for offset in range(CALLERS):
            group.create_task(ask(offset))
        yield answers
        over.set()


async def test_under_load_every_reply_is_wholly_of_the_bundle_that_it_names(shop: SwappingShop) -> None:
    settings = shop.first.settings(swap_poll_seconds=POLL_SECONDS)
    async with running_service(settings, shop.first.release) as service, callers(service, shop) as answers:
        await until_version(service, "tiny.1")
        for number in range(SWAPS):
            version = VERSIONS[(number + 1) % 2]
            shop.promote(version)
            await until_version(service, version)
            before = answers[version]
            async with asyncio.timeout(SWAP_SECONDS):
                while answers[version] < before + 2 * CALLERS:
                    await asyncio.sleep(POLL_SECONDS)
    assert min(answers.values()) >= SWAPS // 2 * 2 * CALLERS


async def test_with_a_retrieval_service_it_is_the_same(shop: SwappingShop) -> None:
    """The retrieval service and the ranking process switch whenever each is ready."""
    shop.promote("tiny.1")
    port = free_port()
    retrieval = RetrievalSettings(bundles=shop.bundles)
    servicer = load_servicer(retrieval)
    settings = shop.first.settings(swap_poll_seconds=POLL_SECONDS, retrieval_address=f"127.0.0.1:{port}")
    async with (
        running_server(retrieval, port, registration(servicer)),
        running_service(settings, shop.first.release) as service,
        callers(service, shop) as answers,
    ):
        await until_version(service, "tiny.1")
        shop.promote("tiny.2")
        await asyncio.sleep(10 * POLL_SECONDS)  # nobody switches as long as the retrieval service does not
        assert answers["tiny.2"] == 0
        async with following(Pointer(shop.bundles), servicer.switch_to, POLL_SECONDS):
            for version in ("tiny.2", "tiny.1"):
                shop.promote(version)
                await until_version(service, version)


async def test_a_bad_promotion_changes_no_reply_and_the_next_good_one_is_served(shop: SwappingShop) -> None:
    shop.promote("tiny.1")
    settings = shop.first.settings(swap_poll_seconds=POLL_SECONDS)
    bad = shop.bundles / "tiny.3"
    bad.mkdir(exist_ok=True)
    async with running_service(settings, shop.first.release) as service, callers(service, shop) as answers:
        for words in ("tiny.3", "not there"):
            (shop.bundles / "serving").write_text(words)
            before = answers["tiny.1"]
            async with asyncio.timeout(SWAP_SECONDS):
                while answers["tiny.1"] < before + 10 * CALLERS:
                    await asyncio.sleep(POLL_SECONDS)
            assert answers["tiny.2"] == 0
        shop.promote("tiny.2")
        await until_version(service, "tiny.2")


async def test_a_shadow_is_scored_with_its_own_towers_and_never_shown(shop: SwappingShop, tmp_path: Path) -> None:
    shop.promote("tiny.1")
    settings = shop.first.settings(shadow_bundle="tiny.2", shadow_share=1.0)
    expected = await shop.expected()
    async with running_service(settings, shop.first.release) as service:
        reply = await service.recommended_for("user-3", page_size=10)
        assert reply.bundle_version == "tiny.1"
        async with asyncio.timeout(SWAP_SECONDS):
            while not service.registry.get_sample_value("aisle_shadow_overlap_count"):
                await asyncio.sleep(POLL_SECONDS)
        found = service.registry.get_sample_value("aisle_shadow_overlap_sum")
    first, second = (expected[version, "user-3"].rows[:10] for version in VERSIONS)
    assert found == pytest.approx(np.isin(first, second).mean())


async def test_triton_loads_the_shadows_towers(shop: SwappingShop, tmp_path: Path) -> None:
    shop.promote("tiny.1")
    elsewhere = {"AISLE_TRITON_GRPC_PORT": str(free_port()), "AISLE_SHADOW_BUNDLE": "tiny.2"}
    with triton_service(shop, tmp_path, **elsewhere) as triton:
        address = f"127.0.0.1:{elsewhere['AISLE_TRITON_GRPC_PORT']}"
        scorer = TritonScorer(address, shop.of_version["tiny.2"].release.towers)
        async with asyncio.timeout(READY_SECONDS):
            while not await scorer.ready():
                assert triton.exit_status is None
                await asyncio.sleep(POLL_SECONDS)
        assert await scorer.with_models(shop.first.release.towers).ready()
        await scorer.close()
