"""Ranking metrics over whole catalogues. k list length, U shoppers."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from features.vocab import Rows

Doubles = npt.NDArray[np.float64]


def recall_at(ranked: Rows, truth: Rows, k: int) -> float:
    """Share of the truth found in the first k, of at most k: |top k ∩ truth| / min(k, |truth|); NaN for an empty
    truth."""
    if not truth.size:
        return float("nan")
    return float(np.isin(ranked[:k], truth).sum()) / min(k, truth.size)


def ndcg_at(ranked: Rows, truth: Rows, k: int) -> float:
    """Normalised discounted cumulative gain with binary gains (Järvelin & Kekäläinen 2002); NaN for an empty truth."""
    if not truth.size:
        return float("nan")
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    hits = np.isin(ranked[:k], truth)
    return float((hits * discounts[: hits.size]).sum() / discounts[: min(k, truth.size)].sum())


def coverage_at(lists: Sequence[Rows], k: int, item_count: int) -> float:
    """Share of the catalogue that occurs in anybody's first k."""
    shown = np.unique(np.concatenate([rows[:k] for rows in lists])) if lists else np.empty(0)
    return shown.size / item_count


def bootstrap_interval(values: Doubles, rng: np.random.Generator, resamples: int = 1000) -> tuple[float, float]:
    """95 % percentile interval of the mean over shoppers (Efron 1979)."""
    draws = rng.integers(0, values.size, size=(resamples, values.size))
    low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)
