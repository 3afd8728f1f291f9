"""The retrieval service answers the present bundle's callers and those of the one before."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest
from aisle.v1.retrieval_service_pb2 import SearchRequest
from aisle.v1.retrieval_service_pb2_grpc import RetrievalServiceStub

from features import bundle as files
from features.bundle import BundleError, promote
from features.encode import Floats
from services.common.server import running_server
from services.retrieval.app import RetrievalServicer, RetrievalSettings, load_servicer, registration
from tests.tiny_shop import AS_OF, tiny_shop, write_shop_bundle

VERSIONS = ("tiny.1", "tiny.2", "tiny.3")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    for seed in (3, 2, 1):
        write_shop_bundle(folder, seed)
    return folder


@pytest.fixture
def servicer(bundles: Path) -> RetrievalServicer:
    promote(bundles, "tiny.1", "a test", AS_OF)
    return load_servicer(RetrievalSettings(bundles=bundles))


@pytest.fixture
async def stub(servicer: RetrievalServicer) -> AsyncIterator[RetrievalServiceStub]:
    async with (
        running_server(RetrievalSettings(), 0, registration(servicer)) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield RetrievalServiceStub(channel)


def vectors(version: str) -> Floats:
    return tiny_shop(int(version.rpartition(".")[2])).vectors


async def answered(stub: RetrievalServiceStub) -> list[str]:
    """The versions whose callers get their own nearest row."""
    served = []
    for version in VERSIONS:
        own = vectors(version)[7]
        call = stub.Search(SearchRequest(bundle_version=version, vectors=own, result_count=1))
        if await call.code() == grpc.StatusCode.OK:
            reply = await call
            assert (reply.bundle_version, list(reply.neighbors[0].rows)) == (version, [7])
            served.append(version)
        else:
            assert await call.code() == grpc.StatusCode.FAILED_PRECONDITION
    return served


async def test_two_generations_are_answered_and_older_callers_refused(
    stub: RetrievalServiceStub, servicer: RetrievalServicer, bundles: Path
) -> None:
    assert await answered(stub) == ["tiny.1"]
    await servicer.switch_to(bundles / "tiny.1")
    assert await answered(stub) == ["tiny.1"]
    await servicer.switch_to(bundles / "tiny.2")
    assert await answered(stub) == ["tiny.1", "tiny.2"]
    await servicer.switch_to(bundles / "tiny.3")
    assert await answered(stub) == ["tiny.2", "tiny.3"]
    await servicer.switch_to(bundles / "tiny.2")
    assert await answered(stub) == ["tiny.2", "tiny.3"]
    await servicer.switch_to(bundles / "tiny.1")
    assert await answered(stub) == ["tiny.1", "tiny.2"]


async def test_a_damaged_bundle_changes_nothing(
    stub: RetrievalServiceStub, servicer: RetrievalServicer, tmp_path: Path
) -> None:
    damaged = write_shop_bundle(tmp_path, seed=2).root
    (damaged / files.INDEX).write_bytes(b"torn")
    with pytest.raises(BundleError, match=r"index\.faiss: sha256 differs"):
        await servicer.switch_to(damaged)
    assert await answered(stub) == ["tiny.1"]
