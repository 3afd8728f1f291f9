"""What lists do beside being right: how much of the catalogue they show, how well known, alike and fitting it is.

Shapes: U shoppers, k places of a list, N items, D vector width, G groups. `places` is int32 [U, k] from `places_of`, -1
where a list is shorter.

Choices: everything but coverage and exposure is a column of one value per shopper, NaN where it has no meaning.
"""

from collections.abc import Sequence

import numpy as np

from features.vectors import Vectors
from features.vocab import Rows
from training.metrics import Doubles, Flags

HEAD_SHARE = 0.8
"""The most popular items that together hold this share of all event weight are the head; the rest is the long tail."""
CALIBRATION_SMOOTHING = 0.01
_NO_ROW = -1


def places_of(lists: Sequence[Rows], k: int) -> Rows:
    """The first k of every list, int32 [U, k], filled with -1."""
    places = np.full((len(lists), k), _NO_ROW, dtype=np.int32)
    for user, rows in enumerate(lists):
        places[user, : min(k, rows.size)] = rows[:k]
    return places


def coverage_at(lists: Sequence[Rows], k: int, item_count: int) -> float:
    """Share of the catalogue that occurs in anybody's first k (Herlocker et al. 2004, §5.2)."""
    shown = np.unique(places_of(lists, k))
    return float((shown != _NO_ROW).sum() / item_count)


def long_tail(weights: Doubles, head_share: float = HEAD_SHARE) -> Flags:
    """Which items lie outside the smallest set of most popular items that holds `head_share` of `weights`, bool [N]."""
    order = np.argsort(-weights, kind="stable")
    before = np.cumsum(weights[order]) - weights[order]
    tail = np.empty(weights.size, dtype=np.bool_)
    tail[order] = before >= head_share * weights.sum()
    return tail


def share_of_places(places: Rows, flags: Flags) -> Doubles:
    """Share of each list's places whose item is flagged in `flags` [N], float64 [U]: long-tail share, exposure of
    sensitive items; NaN for an empty list."""
    return _mean_over_places(places, flags.astype(np.float64))


def novelty(places: Rows, weights: Doubles) -> Doubles:
    """Mean self-information of a list, Σ -log2 p(item) / k, bits, float64 [U] (Zhou et al. 2010; Vargas & Castells
    2011); p is the item's share of event weight with one added to every item; NaN for an empty list."""
    return _mean_over_places(places, -np.log2((weights + 1.0) / (weights + 1.0).sum()))


def diversity(places: Rows, vectors: Vectors) -> Doubles:
    """Intra-list diversity: mean over a list's pairs of 1 - cosine of item vectors [N, D], float64 [U] (Ziegler et al.
    2005; Smyth & McClave 2001); NaN below two items.

    With unit vectors v the pairs' cosines sum to (|Σ v|² - Σ |v|²) / 2; a vector of zeros is like nothing.
    """
    found = np.full(len(places), np.nan)
    for user, rows in enumerate(places):
        units = vectors[rows[rows != _NO_ROW]].astype(np.float64)
        count = len(units)
        if count > 1:
            units /= np.maximum(np.linalg.norm(units, axis=1, keepdims=True), 1e-12)
            cosines = (np.square(units.sum(axis=0)).sum() - np.square(units).sum()) / (count * (count - 1))
            found[user] = 1.0 - cosines
    return found


def group_shares(lists: Sequence[Rows], groups: Rows, group_count: int) -> Doubles:
    """How each list's items spread over groups (categories, brands), float64 [U, G], rows sum to 1.

    Args:
        lists: Rows without -1.
        groups: int32 [N], group of each item; items with -1 are left out.
        group_count: G.

    Returns:
        Zeros for a list without any grouped item.
    """
    users = np.repeat(np.arange(len(lists)), [rows.size for rows in lists])
    found = groups[np.concatenate([*lists, np.empty(0, np.int32)])].astype(np.int64)
    cells = (users * group_count + found)[found >= 0]
    counts = np.bincount(cells, minlength=len(lists) * group_count).reshape(len(lists), group_count)
    shares: Doubles = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares


def miscalibration(wanted: Doubles, shown: Doubles, smoothing: float = CALIBRATION_SMOOTHING) -> Doubles:
    """Kullback-Leibler divergence of a list's categories from those of the shopper's history, nats, float64 [U]; 0 is
    calibrated (Steck 2018).

    Σ p ln(p / q̃) with q̃ = (1 - s) q + s p, s = `smoothing`; p and q from `group_shares`, both [U, G]. Every distinct
    item of the history counts once (Steck's w = 1). NaN without a history or without a list.
    """
    mixed = (1.0 - smoothing) * shown + smoothing * wanted
    ratio = np.divide(wanted, mixed, out=np.ones_like(wanted), where=wanted > 0)
    known = wanted.any(axis=1) & shown.any(axis=1)
    return np.where(known, (wanted * np.log(ratio)).sum(axis=1), np.nan)


def share_of_all_places(lists: Sequence[Rows], groups: Rows, group_count: int) -> Doubles:
    """Share of all places that each group (brand) gets, float64 [G]; places of items without a group count as places,
    so that the sum may stay below 1."""
    rows = np.concatenate([*lists, np.empty(0, np.int32)])
    found = groups[rows]
    counts = np.bincount(found[found >= 0], minlength=group_count)
    shares: Doubles = counts / max(rows.size, 1)
    return shares


def _mean_over_places(places: Rows, values: Doubles) -> Doubles:
    """Mean of `values` [N] over each list; NaN for an empty one."""
    taken = places != _NO_ROW
    sums = np.where(taken, values[places], 0.0).sum(axis=1)
    counts = taken.sum(axis=1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
