"""Shops for baselines: one whose right answer is known by construction, and ones drawn from a table."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from features.vocab import Rows
from tests.shop import dataset, day, day_us, event, events, item, items
from tests.strategies import Row
from training.dataset import Sequences, sequences

AS_OF = 100.0
AS_OF_US = day_us(AS_OF)
KINDS, PER_KIND, SHOPPERS_PER_KIND = 3, 8, 12
ITEM_COUNT = KINDS * PER_KIND + 1
"""The last item was never bought by anybody."""
NEVER_SOLD = ITEM_COUNT - 1
NEWCOMER, STRANGER = "~newcomer", "a stranger"
"""Known, but without an event; and not known at all."""


def shoppers_of(table: npt.NDArray[np.bool_], more: Iterable[Row] = ()) -> Sequences:
    """Shopper `user-<i>` buys `item-<j>` on day 90 + j / 10 where the table [U, N] is true; and more events."""
    names = [f"item-{row:03d}" for row in range(table.shape[1])]
    bought = [event(f"user-{user:03d}", names[row], 90 + row / 10) for user, row in np.argwhere(table)]
    data = dataset(events(*bought, *more), items(*(item(name) for name in names)))
    return sequences(data, data.items, day(AS_OF))


def kinds_of_shoppers() -> Sequences:
    """Shoppers of three kinds, who buy six of their kind's eight items, another six each; and a newcomer."""
    table = np.zeros((KINDS * SHOPPERS_PER_KIND, ITEM_COUNT), dtype=bool)
    for user in range(table.shape[0]):
        own = items_of_kind(user // SHOPPERS_PER_KIND)
        table[user, np.roll(own, user * 3 % PER_KIND)[2:]] = True
    found = shoppers_of(table)
    return replace(found, user_ids=[*found.user_ids, NEWCOMER], starts=np.append(found.starts, found.starts[-1]))


def items_of_kind(kind: int) -> Rows:
    """The rows that shoppers of one kind buy."""
    return np.arange(kind * PER_KIND, (kind + 1) * PER_KIND, dtype=np.int32)


def history(sequences: Sequences, user: int) -> Rows:
    """A shopper's rows, sorted."""
    return np.sort(sequences.rows[sequences.starts[user] : sequences.starts[user + 1]])
