"""A process follows the pointer, and what cannot be served changes nothing."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from features.bundle import BundleError
from services.common import pointer
from services.common.pointer import Pointer, following

POLL_SECONDS = 0.005
PATIENCE_SECONDS = 10.0


class Service:
    """What is served, in order; set `failure` and it refuses to serve anything else."""

    def __init__(self) -> None:
        self.served: list[str] = []
        self.attempts = 0
        self.failure: Exception | None = None

    async def serve(self, root: Path) -> None:
        self.attempts += 1
        if self.failure:
            raise self.failure
        self.served.append(root.name)


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    for version in ("monday", "tuesday"):
        (tmp_path / version).mkdir()
    move(tmp_path, "monday")
    return tmp_path


def move(bundles: Path, words: str) -> None:
    """As promoting does it."""
    draft = bundles / ".draft"
    draft.write_text(words + "\n")
    draft.replace(bundles / "serving")


@asynccontextmanager
async def followed(bundles: Path) -> AsyncIterator[Service]:
    service = Service()
    async with following(Pointer(bundles), service.serve, POLL_SECONDS):
        yield service


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(POLL_SECONDS)


async def test_what_the_pointer_names_is_served_at_once_and_at_every_move(bundles: Path) -> None:
    async with followed(bundles) as service:
        await until(lambda: service.served == ["monday"])
        move(bundles, "tuesday")
        await until(lambda: service.served == ["monday", "tuesday"])
        move(bundles, "monday")
        await until(lambda: service.served == ["monday", "tuesday", "monday"])


async def test_a_promotion_with_the_same_words_is_a_move(bundles: Path) -> None:
    async with followed(bundles) as service:
        await until(lambda: service.served == ["monday"])
        move(bundles, "monday")
        await until(lambda: service.served == ["monday", "monday"])


@pytest.mark.parametrize("words", ["wednesday", "", "\x00"])
async def test_a_broken_pointer_is_said_once_and_the_next_promotion_is_served(
    bundles: Path, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with followed(bundles) as service:
        await until(lambda: service.served == ["monday"])
        service.failure = BundleError("no manifest")  # what a folder that is no bundle meets
        with caplog.at_level(logging.ERROR):
            move(bundles, words)
            await until(lambda: bool(caplog.records))
            await asyncio.sleep(10 * POLL_SECONDS)
        service.failure = None
        move(bundles, "tuesday")
        await until(lambda: service.served == ["monday", "tuesday"])
    assert [record.message for record in caplog.records] == ["kept what was served before"]


async def test_a_pointer_that_is_gone_and_comes_back_is_followed_again(bundles: Path) -> None:
    async with followed(bundles) as service:
        await until(lambda: service.served == ["monday"])
        (bundles / "serving").unlink()
        await asyncio.sleep(5 * POLL_SECONDS)
        move(bundles, "tuesday")
        await until(lambda: service.served == ["monday", "tuesday"])


async def test_what_failed_is_tried_again_in_silence_until_it_can_be_served(
    bundles: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pointer, "RETRY_SECONDS", POLL_SECONDS)
    async with followed(bundles) as service:
        await until(lambda: service.served == ["monday"])
        service.failure, first = RuntimeError("half copied"), service.attempts
        move(bundles, "tuesday")
        await until(lambda: service.attempts >= first + 3)
        service.failure = None
        await until(lambda: service.served == ["monday", "tuesday"])
    (record,) = caplog.records
    assert vars(record)["reason"] == "half copied"
    assert record.exc_info is not None  # what nobody foresaw comes with its traceback


async def test_leaving_the_block_ends_the_following(bundles: Path) -> None:
    async with followed(bundles) as service:
        await until(lambda: service.served == ["monday"])
    move(bundles, "tuesday")
    await asyncio.sleep(5 * POLL_SECONDS)
    assert service.served == ["monday"]


def test_a_pointer_has_moved_until_it_is_asked_what_it_names(bundles: Path) -> None:
    watched = Pointer(bundles)
    assert watched.has_moved()
    assert watched.target() == bundles / "monday"
    assert not watched.has_moved()
    move(bundles, "wednesday")
    assert watched.has_moved()
    with contextlib.suppress(BundleError):
        watched.target()
    assert not watched.has_moved()
