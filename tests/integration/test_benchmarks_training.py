"""The trainers' comparison, small: from the same weights, over the same pairs, both end with the same tower."""

from pathlib import Path

import pytest

from benchmarks import training
from benchmarks.text_shop import Shop
from features.adapters import load
from tests.tiny_encoder import write_tiny_encoder
from training.dataset import item_texts, sequences

DATA = "synthetic:seed=3,user_count=60,item_count=80"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    data = load(DATA, tmp_path_factory.mktemp("data"))
    week = data.calendar.week_of(data.events["event_time"].max())  # type: ignore[arg-type]
    known = sequences(data, data.items, data.calendar.week_end(week))
    return Shop("synthetic", item_texts(data.items), known, [], [], [])


def test_both_trainers_end_with_the_same_tower(shop: Shop, tmp_path: Path) -> None:
    words = " ".join(shop.texts.distinct).lower().split()
    encoder = write_tiny_encoder(tmp_path / "encoder", words)
    size = training.Size(rounds=2, steps=6, batch_size=8, encoder=encoder, texts_read=40)
    [row] = training.measured(shop, size)
    assert row.ours > 0
    assert row.theirs > 0
    assert row.met == (row.value >= 1.5)
