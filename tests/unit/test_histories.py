"""What the interest tower learns from: stretches of one shopper's events, each pointing only at what came after it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from features import spec
from tests.shop import DAY_US
from tests.strategies import unhurried
from tests.unit.numbered_events import ITEMS, Event, daily, numbered
from training.config import InterestTowerConfig
from training.dataset import Sequences
from training.histories import HistoryBatch, HistorySampler

LENGTH = spec.HISTORY_LENGTH
CONFIG = InterestTowerConfig(targets="all", target_events=16, target_days=100.0, same_session=True)


def _ordered(moments: list[tuple[int, int]]) -> list[Event]:
    """Rows with quarters of a day, which is its own session, oldest first."""
    return [(row, quarter / 4, quarter // 4) for row, quarter in sorted(moments, key=lambda moment: moment[1])]


_shoppers = st.lists(
    st.lists(st.tuples(st.integers(0, ITEMS - 1), st.integers(0, 160)), min_size=1, max_size=70).map(_ordered),
    min_size=1,
    max_size=3,
)
_configs = st.builds(
    InterestTowerConfig,
    targets=st.sampled_from(["all", "first"]),
    target_events=st.sampled_from([1, 3, 16]),
    target_days=st.sampled_from([0.5, 7.0, 100.0]),
    same_session=st.booleans(),
)


def user_of(found: Sequences) -> list[int]:
    """The shopper of each event."""
    users: list[int] = np.repeat(np.arange(len(found.user_ids)), np.diff(found.starts)).tolist()
    return users


def first_engagements(found: Sequences) -> list[int]:
    """Events in which a shopper meets an item for the first time."""
    pairs = list(zip(user_of(found), found.rows.tolist(), strict=True))
    return [at for at, pair in enumerate(pairs) if pair not in pairs[:at]]


def allowed(found: Sequences, at: int, config: InterestTowerConfig) -> list[int]:
    """Events that one may point at, found by looking at every later one."""
    users, firsts = user_of(found), first_engagements(found)
    later = [
        event
        for event in range(at + 1, len(users))
        if users[event] == users[at]
        and (config.same_session or found.sessions[event] != found.sessions[at])
        and (config.targets == "all" or event in firsts)
    ]
    until = found.times_us[at] + config.target_days * DAY_US
    return [event for event in later[: config.target_events] if found.times_us[event] <= until]


def shown(batch: HistoryBatch, number: int) -> list[int]:
    """The events of one stretch, oldest first."""
    types = batch.event_types[number]
    events: list[int] = (types[types > 0] - 1).tolist()
    return events


@unhurried
@given(shoppers=_shoppers, config=_configs, seed=st.integers(0, 1000))
def test_every_target_is_one_that_its_event_may_have_and_none_is_missing(
    shoppers: list[list[Event]], config: InterestTowerConfig, seed: int
) -> None:
    found = numbered(*shoppers)
    may = [allowed(found, at, config) for at in range(found.rows.size)]
    assume(any(may))
    batch = HistorySampler(found, config).sample(8, np.random.default_rng(seed))
    for number in range(8):
        events = shown(batch, number)
        for place, at in enumerate(events, start=LENGTH - len(events)):
            target, weight = int(batch.targets[number, place]), float(batch.weights[number, place])
            assert (target >= 0) == (weight > 0) == bool(may[at])
            if target >= 0:
                event = found.rows.size - round(weight)
                assert event in may[at]
                assert target == found.rows[event]


@unhurried
@given(shoppers=_shoppers, seed=st.integers(0, 1000))
def test_a_stretch_is_consecutive_events_of_one_shopper_padded_on_the_left(
    shoppers: list[list[Event]], seed: int
) -> None:
    found = numbered(*shoppers)
    assume(any(len(events) > 1 for events in shoppers))
    batch = HistorySampler(found, CONFIG).sample(8, np.random.default_rng(seed))
    assert {part.shape for part in (batch.rows, batch.event_types, batch.ages_days, batch.targets)} == {(8, LENGTH)}
    for number in range(8):
        events = shown(batch, number)
        size, user = len(events), user_of(found)[events[0]]
        assert events == list(range(events[0], events[0] + size))
        assert {user_of(found)[at] for at in events} == {user}
        assert size == min(LENGTH, len(shoppers[user]))
        assert batch.rows[number, -size:].tolist() == found.rows[events].tolist()
        ages = (found.times_us[events[-1]] - found.times_us[events]) / DAY_US
        np.testing.assert_allclose(batch.ages_days[number, -size:], ages, rtol=1e-6)
        for part in (batch.rows, batch.event_types, batch.ages_days, batch.weights):
            assert not part[number, : LENGTH - size].any()
        assert set(batch.targets[number, : LENGTH - size].tolist()) <= {-1}


def test_every_target_of_the_window_is_drawn_and_every_end_of_a_long_history() -> None:
    found = numbered(daily(*(at % ITEMS for at in range(LENGTH + 3))))
    sampler = HistorySampler(found, replace(CONFIG, target_events=3))
    batch = sampler.sample(400, np.random.default_rng(0))
    assert {shown(batch, number)[-1] for number in range(400)} == set(range(LENGTH - 1, LENGTH + 3))
    ahead = (found.rows.size - batch.weights - batch.event_types + 1)[batch.targets >= 0]
    assert set(ahead.tolist()) == {1.0, 2.0, 3.0}


def test_what_the_same_session_brings_is_no_target_unless_asked_for() -> None:
    basket = [(0, 1.0, 7), (1, 1.0, 7), (2, 1.0, 7), (3, 2.0, 8)]
    for same_session, expected in ((False, [3, 3, 3, -1]), (True, [1, 2, 3, -1])):
        config = replace(CONFIG, same_session=same_session, target_events=1)
        batch = HistorySampler(numbered(basket), config).sample(5, np.random.default_rng(0))
        assert batch.targets[:, -4:].tolist() == [expected] * 5


def test_what_was_had_before_is_no_target_when_first_engagements_are_asked_for() -> None:
    config = replace(CONFIG, targets="first", target_events=1)
    batch = HistorySampler(numbered(daily(4, 4, 2, 4, 3)), config).sample(5, np.random.default_rng(0))
    assert batch.targets[:, -5:].tolist() == [[2, 2, 3, 3, -1]] * 5


def test_a_purchase_after_a_look_is_a_first_engagement_and_a_look_after_a_purchase_is_none() -> None:
    found = replace(numbered(daily(4, 0, 4, 0)), weights=np.array([0.1, 1.0, 1.0, 0.1]))
    batch = HistorySampler(found, replace(CONFIG, targets="first", target_events=1)).sample(5, np.random.default_rng(0))
    assert batch.targets[:, -4:].tolist() == [[0, 4, -1, -1]] * 5


@pytest.mark.parametrize("targets", ["all", "first"])
def test_the_share_of_each_item_among_targets_sums_to_one(targets: Any) -> None:
    found = numbered(daily(4, 4, 2, 4), daily(2, 1))
    share = HistorySampler(found, replace(CONFIG, targets=targets)).target_share
    counts = [0, 1, 2, 0, 3] if targets == "all" else [0, 1, 2, 0, 1]
    np.testing.assert_allclose(share, np.array(counts) / sum(counts))
    assert share.sum() == pytest.approx(1.0)


def test_the_mean_number_of_targets_of_a_stretch_is_what_batches_have() -> None:
    found = numbered(daily(*(at % ITEMS for at in range(LENGTH + 1))), daily(0, 1, 2), daily(3))
    sampler = HistorySampler(found, replace(CONFIG, targets="first"))
    batch = sampler.sample(4000, np.random.default_rng(0))
    assert sampler.mean_targets == pytest.approx(float((batch.targets >= 0).sum()) / 4000, rel=0.1)


def test_who_did_one_thing_only_is_never_drawn() -> None:
    batch = HistorySampler(numbered(daily(4), daily(0, 1)), CONFIG).sample(50, np.random.default_rng(0))
    assert {tuple(shown(batch, number)) for number in range(50)} == {(1, 2)}


def test_the_same_seed_draws_the_same_batch_and_another_seed_another() -> None:
    found = numbered(*(daily(*((at * step) % ITEMS for at in range(40))) for step in (1, 2, 3)))
    first, again, other = (HistorySampler(found, CONFIG).sample(16, np.random.default_rng(seed)) for seed in (5, 5, 6))
    for name in HistoryBatch.__slots__:
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.targets, other.targets)


@pytest.mark.parametrize(
    ("found", "changed"),
    [
        (numbered(daily(0), daily(1)), {}),
        (numbered([(0, 1.0, 1), (1, 30.0, 2)]), {"target_days": 28.0}),
        (numbered([(0, 1.0, 1), (1, 1.0, 1)]), {"same_session": False}),
        (numbered(daily(0, 0)), {"targets": "first"}),
    ],
    ids=["one event each", "too far ahead", "one session", "nothing new"],
)
def test_nothing_to_point_at_is_an_error_that_says_what_was_asked_for(
    found: Sequences, changed: dict[str, Any]
) -> None:
    config = replace(CONFIG, **changed)
    words = rf"no event has a target \({config.targets}\) within {config.target_days} days"
    with pytest.raises(ValueError, match=words):
        HistorySampler(found, config)


@unhurried
@given(shoppers=_shoppers, seed=st.integers(0, 9))
def test_what_a_shopper_had_up_to_an_event_is_known_but_for_the_target(shoppers: list[list[Event]], seed: int) -> None:
    found = numbered(*shoppers)
    try:
        sampler = HistorySampler(found, CONFIG)
    except ValueError:
        assume(False)
    batch = sampler.sample(2, np.random.default_rng(seed))
    candidates = np.arange(ITEMS)
    had = sampler.had(batch, candidates)
    for number, place in np.ndindex(batch.targets.shape):
        if batch.event_types[number, place] == 0:
            continue
        start = found.starts[batch.users[number]]
        before = set(found.rows[start : batch.positions[number, place] + 1].tolist())
        expected = [row in before and row != batch.targets[number, place] for row in candidates]
        assert had[number, place].tolist() == expected
