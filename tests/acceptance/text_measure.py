"""Line 3's second data set (benchmarks/text_shop.py has the measure): Amazon Beauty."""

import itertools
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.text_shop import HISTORY, Shop
from tests.acceptance.beauty import beauty
from training.company import latest_distinct
from training.dataset import item_texts, row_of_item, sequences


def amazon_beauty(source: Path, work: Path, held_out: int = 1) -> Shop:
    """Leave-one-out on reviews, events of one day shuffled with seed 0.

    Args:
        source: The benchmark's folder.
        work: Where prepared copies go.
        held_out: 1: the last event is the truth (test) · 2: the one before it, the last unused (validation).
    """
    data = beauty(source, work, "shuffled")
    turn = pl.int_range(pl.len(), 0, -1).over("user_id")
    counted = data.events.sort("user_id", "event_time", "event_id").with_columns(turn=turn)
    items, latest = data.items.sort("item_id"), data.events["event_time"].max()
    cut = replace(data, events=counted.filter(pl.col("turn") > held_out).drop("turn"))
    known = sequences(cut, items, latest + timedelta(days=1))  # type: ignore[operator, arg-type]
    truth = counted.filter(pl.col("turn") == held_out).join(row_of_item(items), on="item_id", maintain_order="left")
    before = [known.rows[start:stop] for start, stop in itertools.pairwise(known.starts)]
    return Shop(
        f"amazon_beauty_{held_out}",
        item_texts(items),
        known,
        [latest_distinct(rows, HISTORY) for rows in before],
        [np.array([row], dtype=np.int64) for row in truth["row"]],
        [np.unique(rows).astype(np.int64) for rows in before],
    )
