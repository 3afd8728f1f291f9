"""What the text vectors alone recommend, each item ranked against all others.

The query is the mean of the shopper's last ten distinct items in fp32. Items that share a text have equal scores: they
stand in an order shuffled once with seed 0, the same for every system. Recall's denominator is min(k, truth).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch

from features.adapters import load
from features.encode import Floats
from training.company import latest_distinct
from training.dataset import Ints, Sequences, Texts, item_texts, select_catalogue, sequences

HISTORY = 10
K = 20


@dataclass(frozen=True, slots=True)
class Shop:
    """A data set cut at an instant; U shoppers who have something to be judged by."""

    name: str
    texts: Texts
    sequences: Sequences
    histories: list[list[int]]
    """Last distinct item rows of each of the U, at most HISTORY."""
    truths: list[Ints]
    """Rows engaged with afterwards, distinct."""
    seen: list[Ints]
    """Rows engaged with before, distinct."""


def complete_journey(build: Path, cutoff_week: int, weeks: int = 4) -> Shop:
    """Purchases up to `cutoff_week`; the `weeks` after it are the truth."""
    data = load("complete-journey", build / "data")
    as_of = data.calendar.week_end(cutoff_week)
    items = select_catalogue(data, as_of, 5)
    known, later = (sequences(data, items, as_of + timedelta(weeks=ahead)) for ahead in (0, weeks))
    instant, position = int(as_of.timestamp() * 1e6), {user: at for at, user in enumerate(known.user_ids)}
    truth = {
        user: np.unique(later.rows[start:stop][later.times_us[start:stop] >= instant]).astype(np.int64)
        for user, start, stop in zip(later.user_ids, later.starts, later.starts[1:], strict=False)
    }
    judged = [user for user in known.user_ids if truth[user].size]
    before = [known.rows[known.starts[position[user]] : known.starts[position[user] + 1]] for user in judged]
    return Shop(
        f"complete_journey_w{cutoff_week}",
        item_texts(items),
        known,
        [latest_distinct(rows, HISTORY) for rows in before],
        [truth[user] for user in judged],
        [np.unique(rows).astype(np.int64) for rows in before],
    )


@dataclass(frozen=True, slots=True)
class Recalls:
    """Mean Recall@K over shoppers."""

    unmasked: float
    """Over all items, those the shopper has had included."""
    masked: float
    """Over items new to the shopper, by those with a new item in their truth."""


def recalls(shop: Shop, vectors: Floats, batch_size: int = 512) -> Recalls:
    """Recall@K of text vectors, float32 [texts, any width]."""
    shelf = _shelves(shop.texts)
    table, of_row = torch.from_numpy(vectors), torch.from_numpy(shop.texts.of_row)
    unmasked, masked = [], []
    order = sorted(range(len(shop.seen)), key=lambda at: shop.seen[at].size)
    for start in range(0, len(order), batch_size):
        users = order[start : start + batch_size]
        queries = torch.stack([table[of_row[shop.histories[user]]].mean(dim=0) for user in users])
        wanted = min(K + shop.seen[users[-1]].size, len(table))
        best = (queries @ table.T).topk(wanted, dim=1).indices.numpy()
        for user, texts in zip(users, best, strict=True):
            truth, seen = set(shop.truths[user].tolist()), set(shop.seen[user].tolist())
            unmasked.append(_recall(_top(texts, shelf, set()), truth))
            if new := truth - seen:
                masked.append(_recall(_top(texts, shelf, seen), new))
    return Recalls(round(float(np.mean(unmasked)), 4), round(float(np.mean(masked)), 4))


def _shelves(texts: Texts) -> list[list[int]]:
    """The item rows of every text, in shuffled order."""
    shelves: list[list[int]] = [[] for _ in texts.distinct]
    for row in np.random.default_rng(0).permutation(texts.of_row.size):
        shelves[texts.of_row[row]].append(int(row))
    return shelves


def _top(texts: Sequence[int] | Ints, shelves: list[list[int]], banned: set[int]) -> list[int]:
    """The first K item rows in the order of their texts that are not banned."""
    found: list[int] = []
    for text in texts:
        found += [row for row in shelves[text] if row not in banned]
        if len(found) >= K:
            break
    return found[:K]


def _recall(listed: list[int], truth: set[int]) -> float:
    return len(truth.intersection(listed)) / min(K, len(truth))
