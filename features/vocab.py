"""Outside ids to rows and back. A row is a position in one bundle's arrays; an id is what the shop calls the thing."""

from collections.abc import Iterable, Sequence
from itertools import repeat

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int32]
"""Positions in a bundle's arrays, int32; -1 where an id is not in the bundle."""

NO_ROWS: Rows = np.empty(0, dtype=np.int32)


class Vocabulary:
    """An immutable list of distinct ids with its inverse."""

    __slots__ = ("_row_of", "ids")

    def __init__(self, ids: Iterable[str]) -> None:
        """Number `ids` in the order given.

        Raises:
            ValueError: if an id occurs twice; the message names it.
        """
        self.ids: list[str] = list(ids)
        self._row_of: dict[str, int] = {}
        for row, name in enumerate(self.ids):
            if self._row_of.setdefault(name, row) != row:
                raise ValueError(f"id {name!r} occurs twice, at rows {self._row_of[name]} and {row}")

    def extended(self, ids: Sequence[str]) -> "Vocabulary":
        """The same ids at the same rows, and more of them behind.

        Raises:
            ValueError: if one of `ids` is there already, or twice among them; the message names it.
        """
        if not ids:
            return self
        more = Vocabulary(())
        more.ids, more._row_of = [*self.ids, *ids], self._row_of.copy()
        for row, name in enumerate(ids, len(self)):
            if more._row_of.setdefault(name, row) != row:
                raise ValueError(f"id {name!r} occurs twice, at rows {more._row_of[name]} and {row}")
        return more

    def __len__(self) -> int:
        """Number of ids."""
        return len(self.ids)

    def rows(self, ids: Sequence[str]) -> Rows:
        """Row of each id, int32 of `len(ids)`; -1 for an id that is not here."""
        return np.fromiter(map(self._row_of.get, ids, repeat(-1)), dtype=np.int32, count=len(ids))

    def names(self, rows: Rows) -> list[str]:
        """Id of each row; rows must be valid.

        Raises:
            IndexError: if a row is negative or beyond the end.
        """
        if rows.size and rows.min() < 0:
            raise IndexError(f"row {rows.min()} is not a row")
        return [self.ids[row] for row in rows]
