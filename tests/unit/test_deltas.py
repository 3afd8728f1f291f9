"""The hourly update's deltas: items move towards those who took to them, others stay to the bit."""

from dataclasses import replace

import numpy as np
import pytest

from features.encode import Floats
from features.schema import Dataset
from tests.shop import dataset, day, event, events, item, items
from training.dataset import Ints
from training.deltas import UpdateConfig, fit_deltas
from training.queries import Window, open_window

pytestmark = pytest.mark.usefixtures("one_thread")

IDS = [f"I{number}" for number in range(8)]
CONFIG = UpdateConfig(steps=10, batch_size=16, uniform_negatives=8)
NOW = 20


@pytest.fixture(scope="module")
def shop() -> Dataset:
    """Ten shoppers who had I0 or I1, and since day 20 take to I7; a stranger takes I6."""
    before = [event(f"u{number}", IDS[number % 2], 3 + number) for number in range(10)]
    since = [event(f"u{number}", "I7", NOW + 1 + 0.1 * number) for number in range(10)]
    return dataset(events(*before, *since, event("stranger", "I6", NOW + 2)), items(*map(item, IDS)))


@pytest.fixture(scope="module")
def window(shop: Dataset) -> Window:
    return open_window(shop, shop.items, day(NOW), 1)


@pytest.fixture(scope="module")
def vectors() -> Floats:
    found = np.random.default_rng(0).standard_normal((len(IDS), 128)).astype(np.float32) / 12
    return found.astype(np.float16).astype(np.float32)


def last_item(history_vectors: Floats, event_types: Ints, ages_days: Floats) -> Floats:
    """A tower whose one interest is the newest item's vector."""
    return history_vectors[:, -1:]


def test_only_items_with_new_events_of_known_shoppers_move(window: Window, vectors: Floats) -> None:
    moved = fit_deltas(window, vectors, last_item, CONFIG, seed=0)
    assert moved.item_count == 1
    np.testing.assert_array_equal(moved.vectors[:7], vectors[:7])
    assert not np.array_equal(moved.vectors[7], vectors[7])


def test_an_item_moves_towards_those_who_took_to_it(window: Window, vectors: Floats) -> None:
    moved = fit_deltas(window, vectors, last_item, CONFIG, seed=0).vectors
    interests = vectors[:2].mean(axis=0)
    assert moved[7] @ interests > vectors[7] @ interests + 0.01


def test_more_decay_moves_less(window: Window, vectors: Floats) -> None:
    lengths = [
        np.linalg.norm(fit_deltas(window, vectors, last_item, replace(CONFIG, decay=decay), 0).vectors[7] - vectors[7])
        for decay in (0.0, 0.2, 0.8)
    ]
    assert lengths[0] > lengths[1] > lengths[2] > 0


def test_vectors_are_exact_in_half_precision(window: Window, vectors: Floats) -> None:
    moved = fit_deltas(window, vectors, last_item, CONFIG, seed=0).vectors
    np.testing.assert_array_equal(moved, moved.astype(np.float16).astype(np.float32))
    assert moved.dtype == np.float32


def test_the_same_seed_moves_the_same_and_another_seed_otherwise(window: Window, vectors: Floats) -> None:
    config = replace(CONFIG, batch_size=4, uniform_negatives=4)
    first, again, other = (fit_deltas(window, vectors, last_item, config, seed).vectors for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_strangers_alone_teach_nothing(shop: Dataset, vectors: Floats) -> None:
    nobody = open_window(shop, shop.items, day(1), 1)
    moved = fit_deltas(nobody, vectors, last_item, CONFIG, seed=0)
    assert moved.item_count == 0
    np.testing.assert_array_equal(moved.vectors, vectors)


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ({"held_out_share": 1.0}, "held_out_share must lie between 0 and 1, got 1.0"),
        ({"decay": 1.0}, r"decay must lie in \[0, 1\), got 1.0"),
    ],
)
def test_a_setting_out_of_range_is_named(setting: dict[str, float], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        UpdateConfig(**setting)  # type: ignore[arg-type]
