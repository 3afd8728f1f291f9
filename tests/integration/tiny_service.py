"""The ranking service over the tiny shop and real back ends: how tests start, fill and ask them."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from aisle.v1 import recommendation_service_pb2 as messages
from prometheus_client import CollectorRegistry

from features import bundle as files
from features.bundle import Bundle
from features.clock import to_us
from features.encode import Shopper, history_ages_days, resolve
from features.store import materialise, open_store
from services.client import AsyncRecommendationClient
from services.common.process import ManagedProcess, free_port
from services.common.server import running_server
from services.common.valkey import ValkeyConfig, start_valkey
from services.ranking.app import registration
from services.ranking.ordering import Interest, RankedList, Source, fallback_interest, recommend
from services.ranking.release import Release, open_release
from services.ranking.root import assembled
from services.ranking.settings import RankingSettings
from services.triton.embedded import EmbeddedTriton, TritonPorts, start_triton
from services.triton.repository import build_repository
from tests.fakes import FakeScorer
from tests.tiny_shop import AS_OF, LIMITS, shoppers, write_shop_bundle

NOW_US = to_us(AS_OF)
SHOPPER_COUNT = 12
CALL_SECONDS = 20.0
Recommended = messages.RecommendResponse | messages.RankResponse


class TinyShopOnDisk:
    """A promoted bundle, the rows of its shoppers, and the ports at which its back ends can be started again."""

    def __init__(self, folder: Path) -> None:
        """Writes everything under `folder`; starts nothing."""
        self.folder = folder
        self.bundle: Bundle = write_shop_bundle(folder / "bundles", seed=1)
        self.release: Release = open_release(folder / "bundles")
        items = pl.read_parquet(self.bundle.path(files.ITEMS))
        self.users = shoppers(items, SHOPPER_COUNT, np.random.default_rng(3))
        self.oracle = FakeScorer.of_bundle(self.bundle.root)
        self._valkey_port = free_port()
        self._triton_port = free_port()

    def start_valkey(self) -> ManagedProcess:
        """The online store, which keeps over a restart what it holds."""
        return start_valkey(ValkeyConfig(self.folder / "valkey", self._valkey_port, append_fsync="always"))

    def start_triton(self, venv: Path) -> EmbeddedTriton:
        """Triton with the bundle's towers."""
        models = build_repository(self.bundle.root, "cpu", self.folder / "repository")
        ports = TritonPorts(grpc=self._triton_port)
        return start_triton(self.folder / "repository", models, self.folder / "work", venv, ports=ports)

    def materialise(self) -> None:
        """Fills the running online store."""
        settings = self.settings()
        store = open_store(settings.feast_dir, settings.offline_dir, settings.redis)
        materialise(store, self.users, pl.read_parquet(self.bundle.path(files.ITEM_COLUMNS)), AS_OF)

    def settings(self, **changes: Any) -> RankingSettings:
        """What the service reads, with time enough for a busy machine and a clock that stands still."""
        patient = {f"{step}_timeout_ms": 5000.0 for step in ("features", "interest", "retrieval")}
        known: dict[str, Any] = {
            "bundles": self.folder / "bundles",
            "clock": "as-of",
            "redis": f"127.0.0.1:{self._valkey_port}",
            "feast_dir": self.folder / "feast",
            "offline_dir": self.folder / "offline",
            "triton_address": f"127.0.0.1:{self._triton_port}",
            "drain_seconds": 1.0,
        }
        return RankingSettings(**(known | patient | changes))

    def shopper(self, user_id: str) -> Shopper:
        """A shopper as their row in the offline table says."""
        row = self.users.row(by_predicate=pl.col("user_id") == user_id, named=True)
        return resolve(row, self.release.model.items)

    async def interest(self, user_id: str) -> Interest:
        """What the interest tower says, run in this process; the fallback for a shopper without history."""
        shopper = self.shopper(user_id)
        if not shopper.history_rows.size:
            return self.fallback(user_id)
        history, ages = self.release.model.vectors[shopper.history_rows], history_ages_days(shopper, NOW_US)
        vectors = await self.oracle.interest_vectors(history, shopper.history_event_types, ages, 1.0)
        return Interest(vectors, is_fallback=False)

    def fallback(self, user_id: str) -> Interest:
        """The mean of the history's vectors."""
        return fallback_interest(self.release.model.vectors[self.shopper(user_id).history_rows])

    def recommended(self, user_id: str, interest: Interest) -> RankedList:
        """What ordering gives in this process."""
        release = self.release
        return recommend(release.model, release.rankers.all_items, self.shopper(user_id), interest, LIMITS, NOW_US)


@dataclass(frozen=True, slots=True)
class RunningService:
    """The service on a real socket, a client of it, and its metrics."""

    client: AsyncRecommendationClient
    address: str
    registry: CollectorRegistry

    async def recommended_for(
        self, user_id: str, timeout_seconds: float = CALL_SECONDS, **fields: Any
    ) -> messages.RecommendResponse:
        """The home page's list, all of it."""
        known = {"placement": messages.PLACEMENT_RECOMMENDED_FOR_YOU, "page_size": 100}
        request = messages.RecommendRequest(user_id=user_id, **(known | fields))
        return await self.client.recommend(request, timeout_seconds=timeout_seconds)


@asynccontextmanager
async def running_service(settings: RankingSettings, release: Release) -> AsyncIterator[RunningService]:
    """The service as its process assembles it."""
    registry = CollectorRegistry()
    async with (
        assembled(settings, release, registry) as servicer,
        running_server(settings, 0, registration(servicer), registry=registry) as server,
        AsyncRecommendationClient(server.address, timeout_seconds=CALL_SECONDS) as client,
    ):
        yield RunningService(client, server.address, registry)


def assert_lists(reply: Recommended, expected: RankedList, release: Release) -> None:
    """The reply's items are the list's, in order, with its scores and sources."""
    ids = release.model.items.vocabulary.names(expected.rows)
    assert [result.item_id for result in reply.results] == ids
    np.testing.assert_allclose([result.score for result in reply.results], expected.scores, atol=1e-4)
    interest = [result.interest_score if result.HasField("interest_score") else np.nan for result in reply.results]
    np.testing.assert_allclose(interest, expected.interest, atol=1e-4)
    sources = [messages.CandidateSource.Name(result.source) for result in reply.results]
    assert sources == [f"CANDIDATE_SOURCE_{Source(source).name}" for source in expected.sources]


def degradations(reply: Recommended) -> list[str]:
    """Names of what the reply had to do without."""
    return [messages.Degradation.Name(step).removeprefix("DEGRADATION_") for step in reply.degradations]


async def until_undegraded(
    ask: Callable[[], Awaitable[messages.RecommendResponse]], seconds: float = 20.0
) -> messages.RecommendResponse:
    """Asks again until nothing is degraded; fails after the time given."""
    deadline = time.monotonic() + seconds
    while degradations(reply := await ask()):
        assert time.monotonic() < deadline, f"still {degradations(reply)}"
    return reply
