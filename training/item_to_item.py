"""Item-to-item tables from what shoppers had: which items keep company, all in all, lately and in one basket.

Shapes: U shoppers, M items that may have neighbours, k neighbours kept of each.

Choices:
- `ridge`: what a shopper engages with, each event counting half after `half_life_days`, is regressed on all they ever
  had, with no item explaining itself: EASE (Steck 2019, WWW, "Embarrassingly shallow autoencoders") with targets of its
  own, in closed form. What is solved is shared by tables that differ in their targets, and is as large as the smaller
  of U and M: (XᵀX + λI)⁻¹Xᵀ = Xᵀ(XXᵀ + λI)⁻¹.
- `basket`: in how many sessions two items occur together, over the square root of how many hold each (cosine, shrunk).
- `sequence`: how often one item follows another within a few events, over the square root of how often each occurs
  (cosine, shrunk): company in the order of time.
- Of each item's weights only the largest k are kept; on Complete Journey that costs nothing (LOG.md).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse
import torch

from features.encode import Floats
from features.vocab import Rows
from services.ranking.ordering import ItemToItem
from training.config import ItemToItemConfig, TableConfig
from training.dataset import Sequences

_DAY_US = 86_400_000_000.0


def fit_item_to_item(sequences: Sequences, config: ItemToItemConfig, as_of_us: int) -> ItemToItem:
    """Fit all tables on everything in `sequences`, seen from `as_of_us`."""
    shoppers_of = np.bincount(_distinct_pairs(sequences)[1], minlength=sequences.item_count)
    most = np.argsort(-shoppers_of, kind="stable")[: config.max_items]
    rows = np.sort(most[shoppers_of[most] > 0]).astype(np.int32)
    if not rows.size:
        return ItemToItem.empty()
    had = _Had.of(sequences, rows)
    ridges = {table.ridge for table in config.tables if table.kind == "ridge"}
    regressions = {ridge: _regression(had.once, ridge) for ridge in sorted(ridges)}
    found = []
    for table in config.tables:
        if table.kind == "ridge":
            weights = _ridge(had, regressions[table.ridge], table, as_of_us)
        elif table.kind == "basket":
            weights = _basket(had, table)
        else:
            weights = _sequence(had, table)
        found.append(_largest(weights, config.neighbours))
    return ItemToItem(rows, np.stack([places for places, _ in found]), np.stack([kept for _, kept in found]))


def _distinct_pairs(sequences: Sequences) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Shopper and item row of every pair that occurs, by shopper."""
    shopper = np.repeat(np.arange(len(sequences.user_ids)), np.diff(sequences.starts))
    pairs = np.unique(shopper * sequences.item_count + sequences.rows)
    return pairs // sequences.item_count, pairs % sequences.item_count


@dataclass(frozen=True, slots=True)
class _Had:
    """Events with the M items: shopper, place among the M, time, oldest first per shopper."""

    shopper: npt.NDArray[np.int64]
    place: npt.NDArray[np.int64]
    times_us: npt.NDArray[np.int64]
    sessions: npt.NDArray[np.int64]
    """Equal within one session of one shopper."""
    shape: tuple[int, int]

    @classmethod
    def of(cls, sequences: Sequences, rows: Rows) -> "_Had":
        place_of = np.full(sequences.item_count, -1, dtype=np.int64)
        place_of[rows] = np.arange(rows.size)
        place = place_of[sequences.rows]
        kept = place >= 0
        shopper = np.repeat(np.arange(len(sequences.user_ids)), np.diff(sequences.starts))
        times, sessions = sequences.times_us[kept], sequences.sessions[kept]
        return cls(shopper[kept], place[kept], times, sessions, (len(sequences.user_ids), rows.size))

    def matrix(self, values: Floats) -> scipy.sparse.csr_matrix:
        """Sums of `values` by shopper and place, at most 1, float32 [U, M]."""
        found = scipy.sparse.csr_matrix((values, (self.shopper, self.place)), shape=self.shape, dtype=np.float32)
        found.data = np.minimum(found.data, 1.0)
        return found

    @property
    def once(self) -> scipy.sparse.csr_matrix:
        """1 where a shopper ever had an item."""
        return self.matrix(np.ones(self.place.size, dtype=np.float32))


Regression = Callable[[scipy.sparse.csr_matrix], Floats]
"""Targets Y [U, M] → weights float32 [M, M], source by target, with which all other items that a shopper had explain
each column of Y best; what stands on the diagonal means nothing."""


def _regression(had: scipy.sparse.csr_matrix, ridge: float) -> Regression:
    """On X = `had`, by the smaller of its two Gram matrices.

    Both solve for all items at once, (XᵀX + ridge·I)⁻¹XᵀY, and take back what each item explained of itself.
    """
    shoppers, items = had.shape
    try:
        return _by_shoppers(had, ridge) if shoppers < items else _by_items(had, ridge)
    except scipy.linalg.LinAlgError as error:
        raise ValueError(f"item-to-item: cannot be solved with ridge {ridge}; raise it") from error


def _by_shoppers(had: scipy.sparse.csr_matrix, ridge: float) -> Regression:
    dense: Floats = had.toarray()
    solved = scipy.linalg.solve(_plus_ridge(dense @ dense.T, ridge), dense, overwrite_a=True, assume_a="pos")
    unexplained = 1.0 - (dense * solved).sum(axis=0)  # ridge times the diagonal of (XᵀX + ridge·I)⁻¹

    def weights_for(targets: scipy.sparse.csr_matrix) -> Floats:
        wanted: Floats = targets.toarray()
        by_itself = (solved * wanted).sum(axis=0)
        weights: Floats = solved.T @ (wanted + dense * (by_itself / unexplained))
        return weights

    return weights_for


def _by_items(had: scipy.sparse.csr_matrix, ridge: float) -> Regression:
    inverse = scipy.linalg.inv(_plus_ridge((had.T @ had).toarray(), ridge), overwrite_a=True, assume_a="pos")

    def weights_for(targets: scipy.sparse.csr_matrix) -> Floats:
        weights: Floats = inverse @ (had.T @ targets).toarray()
        weights -= inverse * (np.diag(weights) / np.diag(inverse))
        return weights

    return weights_for


def _plus_ridge(gram: Floats, ridge: float) -> Floats:
    gram[np.diag_indices_from(gram)] += np.float32(ridge)
    return gram


def _ridge(had: _Had, regression: Regression, table: TableConfig, as_of_us: int) -> Floats:
    """Weights float32 [M, M], source by target, with a zero diagonal."""
    targets = had.once
    if table.half_life_days is not None:
        age_days = (as_of_us - had.times_us) / _DAY_US
        targets = had.matrix((0.5 ** (age_days / table.half_life_days)).astype(np.float32))
    weights = regression(targets)
    weights[np.diag_indices_from(weights)] = 0.0
    return weights


def _basket(had: _Had, table: TableConfig) -> Floats:
    """Weights float32 [M, M]: sessions that hold both items, by those that hold each."""
    whose = had.shopper * (had.sessions.max(initial=0) + 1) + had.sessions
    sessions, session = np.unique(whose, return_inverse=True)
    ones = np.ones(session.size, dtype=np.float32)
    held = scipy.sparse.csr_matrix((ones, (session, had.place)), shape=(sessions.size, had.shape[1]), dtype=np.float32)
    held.data = np.minimum(held.data, 1.0)
    weights = (held.T @ held).toarray()
    often = np.diag(weights).copy()
    weights /= np.sqrt(np.outer(often, often)) + np.float32(table.shrinkage)
    weights[np.diag_indices_from(weights)] = 0.0
    found: Floats = weights
    return found


def _sequence(had: _Had, table: TableConfig) -> Floats:
    """Weights float32 [M, M]: company of events up to `reach` apart, nearer ones and later ones counting more."""
    size = had.shape[1]
    together = scipy.sparse.csr_matrix((size, size), dtype=np.float32)
    for apart in range(1, table.reach + 1):
        same = had.shopper[apart:] == had.shopper[:-apart]
        earlier, later = had.place[:-apart][same], had.place[apart:][same]
        share = np.full(earlier.size, 1.0 / apart, dtype=np.float32)
        together += scipy.sparse.csr_matrix((share, (earlier, later)), shape=(size, size))
    weights = (together + 0.5 * together.T).toarray()
    often = np.bincount(had.place, minlength=size).astype(np.float32)
    weights /= np.sqrt(np.outer(often, often)) + np.float32(table.shrinkage)
    weights[np.diag_indices_from(weights)] = 0.0
    found: Floats = weights
    return found


def _largest(weights: Floats, count: int) -> tuple[npt.NDArray[np.int32], Floats]:
    """Places and values of each row's `count` entries largest in size, [M, k] twice; rounded to the bundle's fp16."""
    count = min(count, weights.shape[1])
    largest = torch.from_numpy(weights).abs().topk(count, dim=1, sorted=False).indices
    places: npt.NDArray[np.int64] = largest.sort(dim=1).values.numpy()
    kept = np.take_along_axis(weights, places, axis=1)
    return places.astype(np.int32), kept.astype(np.float16).astype(np.float32)
