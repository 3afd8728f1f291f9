"""Line 3's measure against loops; its rows are made once and read back."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.text_shop import Shop, recalls
from tests.acceptance import text_fits
from tests.acceptance.quality_text import adapter_rows, gain_rows
from tests.acceptance.text_fits import Workbench
from tests.shop import dataset, day, event, events, item, items
from tests.tiny_encoder import write_tiny_encoder
from training.config import CompanyConfig, TextTowerConfig
from training.dataset import Sequences, Texts, item_texts, sequences

pytestmark = pytest.mark.usefixtures("one_thread")


def _shop(texts: Texts, known: Sequences, before: list[list[int]], after: list[list[int]]) -> Shop:
    seen = [np.unique(rows) for rows in before]
    return Shop("tiny", texts, known, [rows[::-1][:10] for rows in before], [np.array(rows) for rows in after], seen)


@pytest.fixture(scope="module")
def shelf() -> Shop:
    """Sixty items of forty texts and thirty shoppers at random."""
    rng = np.random.default_rng(5)
    texts = Texts([f"text {number}" for number in range(40)], np.append(np.arange(40), rng.integers(0, 40, 20)))
    before = [rng.permutation(60)[: rng.integers(1, 30)].tolist() for _ in range(30)]
    after = [sorted(rng.permutation(60)[: rng.integers(1, 25)].tolist()) for _ in range(30)]
    n = np.zeros(0, dtype=np.int64)
    nothing = Sequences([], n, n.astype(np.int32), n.astype(float), n, n, n, n.astype(float), 60)
    return _shop(texts, nothing, before, after)


def test_recall_is_that_of_a_full_sort_of_all_items(shelf: Shop) -> None:
    """The order among items of one text is the shuffled one, whatever their scores' last bits."""
    vectors = np.random.default_rng(1).standard_normal((40, 8)).astype(np.float32)
    turn = np.argsort(np.random.default_rng(0).permutation(60))
    found: dict[str, list[float]] = {"unmasked": [], "masked": []}
    for history, truth, seen in zip(shelf.histories, shelf.truths, shelf.seen, strict=True):
        scores = vectors @ vectors[shelf.texts.of_row[history]].mean(axis=0)
        order = sorted(range(60), key=lambda row: (-round(float(scores[shelf.texts.of_row[row]]), 5), turn[row]))
        found["unmasked"].append(len(set(order[:20]) & set(truth)) / min(20, len(truth)))
        if new := set(truth) - set(seen):
            left = [row for row in order if row not in seen]
            found["masked"].append(len(set(left[:20]) & new) / min(20, len(new)))
    measured = recalls(shelf, vectors, batch_size=7)
    assert measured.unmasked == pytest.approx(np.mean(found["unmasked"]), abs=1e-4)
    assert measured.masked == pytest.approx(np.mean(found["masked"]), abs=1e-4)


def test_lines_share_their_fits_and_read_them_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["OAT-MILK", "RYE-BREAD", "COW-MILK", "TEA"]
    baskets = [names[:2], names[2:]]
    happened = [
        event(f"household-{number}", name, on + place, session_id=f"{number}-{on}")
        for number in range(8)
        for on in range(0, 40, 4)
        for place, name in enumerate(baskets[number % 2])
    ]
    data = dataset(events(*happened), items(*(item(name) for name in sorted(names))))
    known = sequences(data, data.items, day(100))
    before = [known.rows[a:b].tolist() for a, b in zip(known.starts, known.starts[1:], strict=False)]
    shop = _shop(item_texts(data.items), known, before, [[0, 1, 2, 3]] * len(before))
    encoder = write_tiny_encoder(tmp_path / "encoder", ["oat", "milk", "rye", "bread", "cow", "tea"])
    company = CompanyConfig(steps=5, batch_size=8, uniform_negatives=4)
    config = TextTowerConfig(encoder=encoder, trained_layers=1, steps=4, batch_size=4, rank=1, company=company)

    first = gain_rows("tiny", Workbench(shop, tmp_path), config)
    assert [row.name for row in first if row.bound.startswith(">=")] == [
        "tiny_unmasked_tuned_over_zero_shot",
        "tiny_masked_tuned_over_zero_shot",
    ]
    assert [row.value for row in first if "unmasked_tuned_recall" in row.name] == [1.0]

    adapted = {row.name: row for row in adapter_rows("tiny", Workbench(shop, tmp_path), config, tmp_path)}
    assert adapted["tiny_unmasked_lora_over_full_recall@20"].value == 1.0
    assert adapted["tiny_adalora_is_exported_and_reads_as_torch_does"].met

    monkeypatch.setattr(text_fits, "lay_foundation", None)
    again = gain_rows("tiny", Workbench(shop, tmp_path), config)
    assert [replace(row, met=None) for row in again] == [replace(row, met=None) for row in first]
