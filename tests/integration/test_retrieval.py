"""The retrieval service over a real socket, in this process and as one of its own."""

import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import grpc
import grpc.aio
import numpy as np
import pytest
from aisle.v1.retrieval_service_pb2 import SearchRequest
from aisle.v1.retrieval_service_pb2_grpc import RetrievalServiceStub

from features import bundle
from services.client import field_violations
from services.common.limits import RESULT_COUNT_DEFAULT
from services.common.process import ManagedProcess, ProcessError, free_port
from services.common.server import running_server
from services.common.settings import ServiceSettings
from services.retrieval.app import RetrievalServicer, registration
from services.retrieval.index import Float32, build_index

ROOT = Path(__file__).parents[2]
VERSION = "2017-week-49"


def vectors(count: int) -> Float32:
    return np.random.default_rng(3).normal(size=(count, 128)).astype(np.float16).astype(np.float32)


ITEMS = vectors(500)


@pytest.fixture
async def stub() -> AsyncIterator[RetrievalServiceStub]:
    servicer = RetrievalServicer(build_index(ITEMS), VERSION)
    async with (
        running_server(ServiceSettings(), 0, registration(servicer)) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield RetrievalServiceStub(channel)


def request(**fields: object) -> SearchRequest:
    """A valid search for the first two items, but for `fields`."""
    known = {"bundle_version": VERSION, "vectors": ITEMS[:2].ravel()}
    return SearchRequest(**(known | fields))  # type: ignore[arg-type] # any field


async def test_each_vector_gets_its_nearest_rows_in_order(stub: RetrievalServiceStub) -> None:
    reply = await stub.Search(request(result_count=7))
    assert reply.bundle_version == VERSION
    assert len(reply.neighbors) == 2
    for position, neighbors in enumerate(reply.neighbors):
        products = ITEMS @ ITEMS[position]
        assert list(neighbors.rows) == list(np.argsort(-products)[:7])
        np.testing.assert_allclose(neighbors.scores, np.sort(products)[::-1][:7], rtol=1e-5)


async def test_excluded_rows_stay_out_and_short_results_end_early(stub: RetrievalServiceStub) -> None:
    kept = {3, 77, 401}
    excluded = [row for row in range(500) if row not in kept]
    reply = await stub.Search(request(result_count=1000, excluded_rows=[*excluded, 10_000, -4]))
    assert [set(neighbors.rows) for neighbors in reply.neighbors] == [kept, kept]
    assert [len(neighbors.scores) for neighbors in reply.neighbors] == [3, 3]


async def test_a_bitmap_names_the_rows_that_may_be_returned_less_those_excluded(stub: RetrievalServiceStub) -> None:
    allowed = np.zeros(500, np.bool_)
    allowed[[3, 77, 401, 499]] = True
    bitmap = np.packbits(allowed, bitorder="little").tobytes()
    for excluded, expected in (([], {3, 77, 401, 499}), ([77, 8], {3, 401, 499})):
        reply = await stub.Search(request(allowed_rows_bitmap=bitmap, excluded_rows=excluded))
        assert [set(neighbors.rows) for neighbors in reply.neighbors] == [expected, expected]


async def test_a_count_that_is_not_given_is_the_default(stub: RetrievalServiceStub) -> None:
    reply = await stub.Search(request())
    assert len(reply.neighbors[0].rows) == RESULT_COUNT_DEFAULT


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"bundle_version": ""}, "bundle_version"),
        ({"vectors": []}, "vectors"),
        ({"vectors": [0.0] * 129}, "vectors"),
        ({"vectors": [0.0] * 128 * 65}, "vectors"),
        ({"vectors": [0.0] * 100 + [float("inf")] * 28}, "vectors[100]"),
        ({"result_count": 1001}, "result_count"),
        ({"excluded_rows": [1] * 100_001}, "excluded_rows"),
        ({"allowed_rows_bitmap": b"\xff" * 62}, "allowed_rows_bitmap"),
        ({"allowed_rows_bitmap": b"\xff" * 64}, "allowed_rows_bitmap"),
        ({"allowed_rows_bitmap": bytes(2**20 + 1)}, "allowed_rows_bitmap"),
    ],
)
async def test_a_bad_field_is_named(stub: RetrievalServiceStub, fields: dict[str, object], field: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Search(request(**fields))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert list(field_violations(caught.value)) == [field]


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"bundle_version": "2017-week-48"}, grpc.StatusCode.FAILED_PRECONDITION, "2017-week-48.*2017-week-49"),
        ({"tenant": "other-shop"}, grpc.StatusCode.UNIMPLEMENTED, "tenant"),
    ],
)
async def test_another_bundle_or_shop_is_refused(
    stub: RetrievalServiceStub, fields: dict[str, object], code: grpc.StatusCode, words: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match=words) as caught:
        await stub.Search(request(**fields))
    assert caught.value.code() == code


def write_bundle(bundles: Path) -> None:
    """A promoted bundle whose index is real."""
    with bundle.write_bundle(bundles, VERSION, {"as_of": "2017-12-10T00:00:00+00:00"}) as draft:
        for name in bundle.FILES:
            (draft / name).parent.mkdir(exist_ok=True)
            (draft / name).write_text("not read by retrieval")
        build_index(ITEMS).save(draft / bundle.INDEX)
    bundle.promote(bundles, VERSION, "test", datetime(2026, 1, 1, tzinfo=UTC))


def start(tmp_path: Path, port: int) -> ManagedProcess:
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}",
        "AISLE_BUNDLES": str(tmp_path),
        "AISLE_RETRIEVAL_PORT": str(port),
    }
    command = [sys.executable, "-m", "services.retrieval"]
    return ManagedProcess("retrieval", command, log_path=tmp_path / "logs" / "retrieval.log", environment=environment)


def test_the_process_serves_the_bundle_that_the_pointer_names(tmp_path: Path) -> None:
    write_bundle(tmp_path)
    port = free_port()
    with start(tmp_path, port) as process, grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        ready = grpc.channel_ready_future(channel)
        process.wait_ready(ready.done, 30)
        reply = RetrievalServiceStub(channel).Search(request(result_count=1), timeout=5)
        assert [list(neighbors.rows) for neighbors in reply.neighbors] == [[0], [1]]
        assert process.stop() == 0


def test_the_process_refuses_a_damaged_bundle_and_names_the_file(tmp_path: Path) -> None:
    write_bundle(tmp_path)
    path = tmp_path / VERSION / bundle.INDEX
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    with start(tmp_path, free_port()) as process, pytest.raises(ProcessError, match=r"status 1\n.*index\.faiss"):
        process.wait_ready(lambda: False, 30)
