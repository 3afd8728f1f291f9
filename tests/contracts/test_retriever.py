"""What every `Retriever` does: in this process, over the retrieval service, and the fake."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import grpc.aio
import numpy as np
import pytest
from aisle.v1 import retrieval_service_pb2 as messages
from aisle.v1 import retrieval_service_pb2_grpc as stubs

from features.encode import Floats
from features.vocab import Rows
from services.common.process import free_port
from services.common.server import RunningServer, running_server
from services.common.settings import ServiceSettings
from services.ranking.ordering import Mask
from services.ranking.retriever import LocalRetriever, RemoteRetriever, Retriever, RetrieverUnavailable
from services.retrieval.app import RetrievalServicer, registration
from services.retrieval.index import build_index
from tests.fakes import FakeRetriever

TIMEOUT_SECONDS = 10.0
VERSION = "tiny.1"
ROW_COUNT = 60
EVERY_ROW = np.ones(ROW_COUNT, np.bool_)


def unit_vectors(seed: int, count: int) -> Floats:
    vectors = np.random.default_rng(seed).standard_normal((count, 128)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16).astype(np.float32)  # as a bundle holds them


ITEMS = unit_vectors(1, ROW_COUNT)
ITEMS[40:] = ITEMS[:20]  # a third of the items share their vector with another


def best_rows(interests: Floats) -> list[int]:
    """All rows by their best score over the interests, equal ones by row."""
    scores = (ITEMS @ interests.T).max(axis=1).round(6)
    return sorted(range(ROW_COUNT), key=lambda row: (-scores[row], row))


def without(rows: list[int]) -> Mask:
    return ~np.isin(np.arange(ROW_COUNT), rows)


class RetrieverContract:
    """Inherited by the test class of every implementation, which provides the fixture over `ITEMS`."""

    @pytest.fixture
    async def retriever(self) -> Retriever:
        raise NotImplementedError

    @pytest.mark.parametrize("interest_count", [1, 2, 5])
    @pytest.mark.parametrize("count", [1, 7, ROW_COUNT])
    async def test_the_best_rows_over_all_interests_come_first(
        self, retriever: Retriever, interest_count: int, count: int
    ) -> None:
        for seed in range(100, 105):
            interests = unit_vectors(seed, interest_count)
            rows = await retriever.nearest(interests, count, EVERY_ROW, TIMEOUT_SECONDS)
            assert rows.dtype == np.int32
            assert rows.tolist() == best_rows(interests)[:count]

    async def test_rows_that_are_not_allowed_are_skipped_and_make_room_for_others(self, retriever: Retriever) -> None:
        interests = unit_vectors(9, 3)
        expected = best_rows(interests)
        rows = await retriever.nearest(interests, 10, without(expected[:50:2]), TIMEOUT_SECONDS)
        assert rows.tolist() == expected[1:20:2]

    async def test_there_are_no_more_rows_than_the_catalogue_has(self, retriever: Retriever) -> None:
        rows = await retriever.nearest(unit_vectors(9, 2), 1000, without([3, 4]), TIMEOUT_SECONDS)
        assert sorted(rows.tolist()) == [row for row in range(ROW_COUNT) if row not in (3, 4)]

    async def test_nothing_is_left_when_everything_is_excluded(self, retriever: Retriever) -> None:
        rows = await retriever.nearest(unit_vectors(9, 2), 10, ~EVERY_ROW, TIMEOUT_SECONDS)
        assert rows.tolist() == []


class TestFakeRetriever(RetrieverContract):
    @pytest.fixture
    async def retriever(self) -> Retriever:
        return FakeRetriever(ITEMS)

    async def test_it_fails_on_demand(self, retriever: FakeRetriever) -> None:
        retriever.failure = RetrieverUnavailable("gone")
        with pytest.raises(RetrieverUnavailable):
            await retriever.nearest(ITEMS[:1], 5, EVERY_ROW, TIMEOUT_SECONDS)


class TestLocalRetriever(RetrieverContract):
    @pytest.fixture
    async def retriever(self) -> Retriever:
        return LocalRetriever(build_index(ITEMS))


def serving(port: int = 0) -> AbstractAsyncContextManager[RunningServer]:
    return running_server(ServiceSettings(), port, registration(RetrievalServicer(build_index(ITEMS), VERSION)))


class TestRemoteRetriever(RetrieverContract):
    @pytest.fixture
    async def retriever(self) -> AsyncIterator[Retriever]:
        async with serving() as server:
            retriever = RemoteRetriever(server.address, VERSION)
            yield retriever
            await retriever.close()

    async def test_a_service_of_another_bundle_is_no_service(self) -> None:
        async with serving() as server:
            retriever = RemoteRetriever(server.address, "tiny.2")
            with pytest.raises(RetrieverUnavailable, match="FAILED_PRECONDITION"):
                await ask(retriever)
            await retriever.close()

    async def test_a_service_that_is_gone_is_an_error_at_once_and_found_soon_after_it_is_back(self) -> None:
        port = free_port()
        retriever = RemoteRetriever(f"127.0.0.1:{port}", VERSION)
        with pytest.raises(RetrieverUnavailable, match="UNAVAILABLE"):
            await ask(retriever)
        for _ in range(2):
            async with serving(port):
                await until_it_answers(retriever, seconds=5.0)
            started = time.monotonic()
            with pytest.raises(RetrieverUnavailable):
                await ask(retriever)
            assert time.monotonic() - started < 2.0
        await retriever.close()

    async def test_an_answer_that_is_late_is_none(self) -> None:
        async def hang() -> messages.SearchResponse:
            await asyncio.Event().wait()
            raise AssertionError

        started = time.monotonic()
        with pytest.raises(RetrieverUnavailable, match="DEADLINE_EXCEEDED"):
            await ask_a_service_that(hang, timeout_seconds=0.1)
        assert time.monotonic() - started < 5.0

    @pytest.mark.parametrize("rows", [[1, 2], [1, 2, 3, 4]])
    async def test_an_answer_whose_rows_and_scores_do_not_fit_is_none(self, rows: list[int]) -> None:
        async def answer() -> messages.SearchResponse:
            return messages.SearchResponse(neighbors=[messages.Neighbors(rows=rows, scores=[0.3, 0.2, 0.1])])

        with pytest.raises(RetrieverUnavailable, match=f"{len(rows)} rows, 3 scores"):
            await ask_a_service_that(answer, TIMEOUT_SECONDS)

    @pytest.mark.parametrize("row", [ROW_COUNT, -1, 3])
    async def test_an_answer_with_a_row_that_may_not_be_shown_is_none(self, row: int) -> None:
        async def answer() -> messages.SearchResponse:
            return messages.SearchResponse(neighbors=[messages.Neighbors(rows=[1, row], scores=[0.3, 0.2])])

        with pytest.raises(RetrieverUnavailable, match=f"row {row}, which may not be shown"):
            await ask_a_service_that(answer, TIMEOUT_SECONDS, without([3]))

    async def test_an_answer_without_neighbours_is_no_rows(self) -> None:
        async def answer() -> messages.SearchResponse:
            return messages.SearchResponse()

        assert (await ask_a_service_that(answer, TIMEOUT_SECONDS)).tolist() == []


async def ask(retriever: RemoteRetriever, timeout_seconds: float = TIMEOUT_SECONDS, allowed: Mask = EVERY_ROW) -> Rows:
    return await retriever.nearest(ITEMS[:1], 5, allowed, timeout_seconds)


async def until_it_answers(retriever: RemoteRetriever, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            await ask(retriever)
            return
        except RetrieverUnavailable:
            assert time.monotonic() < deadline, "not found again in time"
            await asyncio.sleep(0.02)


class FixedAnswers(stubs.RetrievalServiceServicer):
    """Answers every search as told."""

    def __init__(self, behavior: Callable[[], Awaitable[messages.SearchResponse]]) -> None:
        self._behavior = behavior

    async def Search(  # noqa: N802 - the rpc's name
        self,
        request: messages.SearchRequest,  # noqa: ARG002
        context: grpc.aio.ServicerContext[messages.SearchRequest, messages.SearchResponse],  # noqa: ARG002
    ) -> messages.SearchResponse:
        return await self._behavior()

    def register(self, server: grpc.aio.Server) -> list[str]:
        stubs.add_RetrievalServiceServicer_to_server(self, server)
        return []


async def ask_a_service_that(
    behavior: Callable[[], Awaitable[messages.SearchResponse]], timeout_seconds: float, allowed: Mask = EVERY_ROW
) -> Rows:
    settings = ServiceSettings(drain_seconds=0)
    async with running_server(settings, 0, FixedAnswers(behavior).register) as server:
        retriever = RemoteRetriever(server.address, VERSION)
        try:
            return await ask(retriever, timeout_seconds, allowed)
        finally:
            await retriever.close()
