"""Which items keep company with what a shopper has had: item-to-item weights that training fitted, summed per shopper.

Shapes: N items in the bundle, M of them with neighbours, k neighbours each, T tables, n candidates.

Choices:
- The tables hold the M most engaged items only, by place and not by row, so that the sums cost the same whatever the
  size of the catalogue.
- Each table is asked twice: with all a shopper has had, and with the latest events, the newest counting most.

This module does not know how the weights came about.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from features import spec
from features.encode import Floats, Shopper
from features.vocab import Rows

LATEST_EVENTS = 10
"""How many of the newest events the second question is about."""
LATEST_DECAY = 0.8
"""What each older one of them counts, relative to the next newer."""


@dataclass(frozen=True, slots=True)
class ItemToItem:
    """All tables of one bundle."""

    rows: Rows
    """int32 [M], catalogue rows with neighbours, ascending."""
    neighbours: npt.NDArray[np.int32]
    """int32 [T, M, k], places in `rows`."""
    weights: Floats
    """float32 [T, M, k]."""
    _place_of: Rows = field(init=False, repr=False)
    """int32, the place of each catalogue row up to the last with neighbours; M for those without, and at the end."""

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit each other.

        Raises:
            ValueError: naming the array.
        """
        tables, size = len(spec.I2I_TABLES), self.rows.size
        for name, array in (("neighbours", self.neighbours), ("weights", self.weights)):
            if array.ndim != 3 or array.shape[:2] != (tables, size):
                raise ValueError(f"item-to-item {name} has shape {array.shape}, expected ({tables}, {size}, k)")
        if self.neighbours.shape != self.weights.shape:
            raise ValueError(f"item-to-item weights has shape {self.weights.shape}, neighbours {self.neighbours.shape}")
        if not (np.diff(self.rows, prepend=-1) > 0).all():
            raise ValueError("item-to-item rows are not ascending catalogue rows")
        if self.neighbours.size and not 0 <= self.neighbours.min() <= self.neighbours.max() < size:
            raise ValueError(f"item-to-item neighbours are not places below {size}")
        place_of = np.full(int(self.rows.max(initial=-1)) + 2, size, dtype=np.int32)
        place_of[self.rows] = np.arange(size)
        object.__setattr__(self, "_place_of", place_of)

    @classmethod
    def empty(cls) -> "ItemToItem":
        """No item keeps company with any."""
        shape = (len(spec.I2I_TABLES), 0, 1)
        return cls(np.empty(0, np.int32), np.zeros(shape, np.int32), np.zeros(shape, np.float32))

    def save(self, path: Path) -> None:
        """Write the arrays as .npz."""
        np.savez(path, rows=self.rows, neighbours=self.neighbours, weights=self.weights.astype(np.float16))

    @classmethod
    def load(cls, path: Path) -> "ItemToItem":
        """Read what `save` wrote.

        Raises:
            ValueError: if an array is missing or does not fit.
        """
        with np.load(path, allow_pickle=False) as arrays:
            missing = {"rows", "neighbours", "weights"} - set(arrays.files)
            if missing:
                raise ValueError(f"{path}: array {min(missing)!r} is missing")
            return cls(arrays["rows"], arrays["neighbours"], arrays["weights"].astype(np.float32))

    def ask(self, shopper: Shopper) -> "ItemToItemScores":
        """Every table's sums for one shopper."""
        latest = shopper.history_rows[-LATEST_EVENTS:]
        latest_weights = LATEST_DECAY ** np.arange(latest.size - 1, -1, -1, dtype=np.float32)
        every_weight = np.ones(shopper.repeat_rows.size, dtype=np.float32)
        return self._asked(
            {"all": self._known(shopper.repeat_rows, every_weight), "latest": self._known(latest, latest_weights)}
        )

    def ask_items(self, rows: Rows, table: str) -> "ItemToItemScores":
        """One table's sums for items that count alike, a cart for instance; as the only one of the scores.

        Raises:
            ValueError: if `table` is none of `spec.I2I_TABLES`.
        """
        sums = np.zeros((1, self.rows.size + 1), dtype=np.float32)
        places, weights = self._known(rows, np.ones(rows.size, dtype=np.float32))
        sums[0, :-1] = self._sums(spec.I2I_TABLES.index(table), places, weights)
        return ItemToItemScores(self, sums)

    def places(self, rows: Rows) -> Rows:
        """Place of each catalogue row, int32 [n]; M for one without neighbours."""
        places: Rows = self._place_of[np.minimum(rows, self._place_of.size - 1)]
        return places

    def _known(self, rows: Rows, weights: Floats) -> tuple[Rows, Floats]:
        """The places of those rows that have neighbours, and their weights."""
        places = self.places(rows)
        known = places < self.rows.size
        return places[known], weights[known]

    def _asked(self, questions: Mapping[str, tuple[Rows, Floats]]) -> "ItemToItemScores":
        sums = np.zeros((len(spec.I2I_FEATURES), self.rows.size + 1), dtype=np.float32)  # the last: no neighbours
        for number, (question, table) in enumerate(spec.I2I_FEATURES):
            sums[number, :-1] = self._sums(spec.I2I_TABLES.index(table), *questions[question])
        return ItemToItemScores(self, sums)

    def _sums(self, table: int, places: Rows, weights: Floats) -> npt.NDArray[np.float64]:
        """Weights of the neighbours of what is at `places`, each times its own weight, added up by place; float64
        [M]."""
        shares = self.weights[table].take(places, axis=0) * weights[:, None]
        neighbours = self.neighbours[table].take(places, axis=0)
        return np.bincount(neighbours.ravel(), shares.ravel(), self.rows.size).astype(np.float64, copy=False)


@dataclass(frozen=True, slots=True)
class ItemToItemScores:
    """One shopper's sums."""

    tables: ItemToItem
    """Which were asked."""
    sums: Floats
    """float32 [F, M + 1], F = len(I2I_FEATURES) in their order, or one where one table was asked; the last column is
    0."""

    def of(self, rows: Rows) -> Floats:
        """The features of candidates, float32 [n, F]; 0 for an item without neighbours."""
        scores: Floats = self.sums[:, self.tables.places(rows)].T
        return scores

    def best(self, feature: int, count: int, allowed: npt.NDArray[np.bool_]) -> Rows:
        """The `count` rows with the largest positive sums among the allowed ones (bool [N]), best first."""
        found = np.flatnonzero(self.sums[feature, :-1] > 0)  # a few hundred of thousands
        found = found[allowed[self.tables.rows[found]]]
        sums = self.sums[feature, found]
        if count < sums.size:
            best = sums >= np.partition(sums, -count)[-count]
            found, sums = found[best], sums[best]
        ordered: Rows = self.tables.rows[found[np.argsort(-sums, kind="stable")]][:count]
        return ordered
