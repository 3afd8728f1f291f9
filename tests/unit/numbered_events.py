"""Shoppers' sequences written by hand, in which every event says which it is."""

import numpy as np

from tests.shop import DAY_US
from training.dataset import Sequences

ITEMS = 5
Event = tuple[int, float, int]
"""Item row, day and session."""


def numbered(*shoppers: list[Event]) -> Sequences:
    """Each shopper's events, oldest first. Event n of E has type n + 1 and weighs E - n, so that a batch says
    which event it shows, and nothing weighs more than what came before it."""
    happened = [event for events in shoppers for event in events]
    count = len(happened)
    rows = np.array([row for row, _, _ in happened], dtype=np.int32)
    weights = np.arange(count, 0.0, -1.0)
    return Sequences(
        user_ids=[f"household-{number}" for number in range(len(shoppers))],
        starts=np.cumsum([0, *map(len, shoppers)]),
        rows=rows,
        weights=weights,
        event_types=np.arange(1, count + 1),
        times_us=np.array([int(on * DAY_US) for _, on, _ in happened], dtype=np.int64),
        sessions=np.array([session for _, _, session in happened], dtype=np.int64),
        counts=np.bincount(rows, weights, ITEMS).astype(np.float64),
        item_count=ITEMS,
    )


def daily(*rows: int) -> list[Event]:
    """One event a day, each in a session of its own."""
    return [(row, float(on), on) for on, row in enumerate(rows)]
