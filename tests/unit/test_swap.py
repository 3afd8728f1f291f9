"""Another release takes over only when nothing is lost by it, and the old one leaves."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features import bundle as files
from features.bundle import BundleError, open_bundle, promote
from services.common.pointer import Pointer
from services.common.scorer import ScorerUnavailable
from services.ranking import swap
from services.ranking.answers import House
from services.ranking.compiled_trees import compile_trees
from services.ranking.pipeline import Pipeline
from services.ranking.release import Release, load_release
from services.ranking.retriever import RetrieverUnavailable
from services.ranking.swap import Serving
from services.ranking.warming import a_regular, warm_up
from tests.fakes import FakeRetriever, FakeScorer
from tests.tiny_shop import AS_OF, TinyShop, write_shop_bundle
from tests.unit.pipeline_world import a_trace, a_world

PROBE_SECONDS = 0.005
OUTAGE_SECONDS = 0.1
PATIENCE_SECONDS = 20.0
GONE = ScorerUnavailable("unavailable")


class CountedPatience:
    """Nobody waits for a turn; how much patience is asked for now."""

    def __init__(self) -> None:
        self.now = 0

    def turn(self) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    @contextmanager
    def patience(self) -> Iterator[None]:
        self.now += 1
        yield
        self.now -= 1


class World:
    """tiny.1 serves; the fakes behind each release can be switched off."""

    def __init__(self, shop: TinyShop, bundles: Path) -> None:
        self.bundles = bundles
        self.pointer = Pointer(bundles)
        self.scorers: dict[str, FakeScorer] = {}
        self.retrievers: dict[str, FakeRetriever] = {}
        for version in ("tiny.1", "tiny.2"):
            self.scorers[version] = FakeScorer.of_arrays(np.ones((2, 128), np.float32), np.ones(128, np.float32))
            self.retrievers[version] = FakeRetriever(np.ones((40, 128), np.float32))
        release = load_release(open_bundle(bundles / "tiny.1"))
        self.turns = CountedPatience()
        self._template = replace(a_world(shop, release).pipeline, release=release, turns=self.turns)
        self.serving = Serving(self.over(release), self.over, lambda bare: bare, House(), self.pointer)
        self._template = replace(self._template, release=shop.release())
        self.pointer.target()

    def over(self, release: Release) -> Pipeline:
        scorer, retriever = self.scorers[release.version], self.retrievers[release.version]
        return replace(self._template, release=release, scorer=scorer, retriever=retriever)

    @property
    def version(self) -> str:
        return self.serving().release.version

    def switch(self) -> asyncio.Task[None]:
        """To tiny.2, as the pointer says."""
        promote(self.bundles, "tiny.2", "a test", AS_OF)
        return asyncio.create_task(self.serving.switch_to(self.pointer.target()))


@pytest.fixture
def world(shop: TinyShop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    @asynccontextmanager
    async def in_this_process(model: Path) -> AsyncIterator[Path]:
        """A child process takes seconds to start."""
        code = tmp_path / "code"
        code.unlink(missing_ok=True)
        compile_trees(model.read_text(), code)
        yield code

    monkeypatch.setattr(swap, "compiled_aside", in_this_process)
    monkeypatch.setattr(swap, "_PROBE_SECONDS", PROBE_SECONDS)
    monkeypatch.setattr(swap, "_OUTAGE_SECONDS", OUTAGE_SECONDS)
    monkeypatch.setattr(swap, "_LAST_REQUESTS_SECONDS", 0.0)
    for seed in (2, 1):
        write_shop_bundle(tmp_path / "bundles", seed)
    return World(shop, tmp_path / "bundles")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(PROBE_SECONDS)


async def is_still_waiting(task: asyncio.Task[None]) -> bool:
    done, _ = await asyncio.wait({task}, timeout=4 * OUTAGE_SECONDS)
    return not done


async def test_a_release_whose_back_ends_are_ready_takes_over(world: World) -> None:
    taken_before = world.serving()
    await world.switch()
    assert world.version == "tiny.2"
    assert taken_before.release.version == "tiny.1"  # who began with it keeps it
    assert len((await taken_before.recommended_for_you("user-3", a_trace())).rows)


async def test_nothing_of_the_old_release_stays_in_memory(world: World) -> None:
    old = id(world.serving().release)
    await world.switch()
    gc.collect()
    left = [one for one in gc.get_objects() if type(one) is Release and (id(one), one.version) == (old, "tiny.1")]
    assert left == []


@pytest.mark.parametrize("missing", ["towers", "index"])
async def test_it_waits_as_long_as_the_old_release_has_what_the_new_one_lacks(world: World, missing: str) -> None:
    if missing == "towers":
        world.scorers["tiny.2"].failure = GONE
    else:
        world.retrievers["tiny.2"].failure = RetrieverUnavailable("another bundle")
    switching = world.switch()
    assert await is_still_waiting(switching)
    assert world.version == "tiny.1"
    world.scorers["tiny.2"].failure = world.retrievers["tiny.2"].failure = None
    await switching
    assert world.version == "tiny.2"


async def test_a_wait_that_lasts_asks_no_patience_of_callers(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "_PATIENT_SECONDS", 10 * OUTAGE_SECONDS)
    world.scorers["tiny.2"].failure = GONE
    switching = world.switch()
    await until(lambda: world.turns.now == 1)
    assert await is_still_waiting(switching)
    assert world.turns.now == 1, "others load for the switch meanwhile"
    await until(lambda: world.turns.now == 0)
    assert not switching.done()
    world.scorers["tiny.2"].failure = None
    await switching
    assert (world.version, world.turns.now) == ("tiny.2", 0)


async def test_an_outage_that_meets_both_releases_is_not_waited_for(world: World) -> None:
    for scorer in world.scorers.values():
        scorer.failure = GONE
    await asyncio.wait_for(world.switch(), PATIENCE_SECONDS)
    assert world.version == "tiny.2"


async def test_a_blink_that_meets_both_releases_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "_OUTAGE_SECONDS", 60.0)
    for scorer in world.scorers.values():
        scorer.failure = GONE
    switching = world.switch()
    assert await is_still_waiting(switching)
    world.scorers["tiny.1"].failure = None  # Triton is back, the new towers are not there yet
    assert await is_still_waiting(switching)
    assert world.version == "tiny.1"
    world.scorers["tiny.2"].failure = None
    await switching
    assert world.version == "tiny.2"


async def test_a_switch_that_waits_is_given_up_when_the_pointer_moves_on(world: World) -> None:
    world.scorers["tiny.2"].failure = GONE
    switching = world.switch()
    assert await is_still_waiting(switching)
    promote(world.bundles, "tiny.1", "taken back", AS_OF)
    await asyncio.wait_for(switching, PATIENCE_SECONDS)
    assert world.version == "tiny.1"


async def test_a_damaged_bundle_leaves_the_old_release_in_place(world: World) -> None:
    promote(world.bundles, "tiny.2", "a test", AS_OF)
    path = world.bundles / "tiny.2" / files.RANKER
    path.write_text(path.read_text() + " ")
    with pytest.raises(BundleError, match=r"ranker\.txt: sha256 differs"):
        await world.serving.switch_to(world.pointer.target())
    assert world.version == "tiny.1"


async def test_a_release_that_cannot_answer_never_takes_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise IndexError("row 41")

    monkeypatch.setattr(FakeScorer, "interest_vectors", broken)
    with pytest.raises((IndexError, ExceptionGroup)):
        await world.switch()
    assert world.version == "tiny.1"


async def test_the_release_that_serves_already_is_left_alone(world: World) -> None:
    before = world.serving()
    await world.serving.switch_to(world.bundles / "tiny.1")
    assert world.serving() is before


async def test_warming_up_asks_for_a_shopper_whose_history_is_full(world: World) -> None:
    asked: list[int] = []

    class CountingScorer(FakeScorer):
        async def interest_vectors(self, history_vectors, event_types, ages_days, timeout_seconds):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
            asked.append(len(history_vectors))
            return await super().interest_vectors(history_vectors, event_types, ages_days, timeout_seconds)

    scorer = CountingScorer.of_arrays(np.ones((2, 128), np.float32), np.ones(128, np.float32))
    await warm_up(replace(world.serving(), scorer=scorer), House())
    assert asked == [len(a_regular(world.serving())["history_item_ids"])] == [40]


async def test_cancelling_a_switch_leaves_the_old_release_in_place(world: World) -> None:
    world.scorers["tiny.2"].failure = GONE
    switching = world.switch()
    assert await is_still_waiting(switching)
    switching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await switching
    assert world.version == "tiny.1"
