"""How good a ranking over the whole catalogue is, and how sure that is.

Shapes: U shoppers, k places of a list, R resamples, M columns.

Choices: lists come in ordered, ties broken by whoever made them; a metric is a column of one value per shopper, so that
two systems can be compared shopper by shopper; a shopper for whom a metric has no meaning holds NaN and is left out of
its mean. What lists do beside being right is in list_metrics. Knows no system, no task and no data set.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.vocab import Rows

Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Sizes = npt.NDArray[np.int64]
Interval = tuple[float, float]

RESAMPLES = 2_000


# Accuracy. hits: bool [U, k] or [k]; sizes: of each truth, int [U] or a number. Values: float64 [U] or [].


def hits_of(ranked: Rows, truth: Rows, k: int) -> Flags:
    """Which of the first k places hold a row of the truth, bool [k]; False beyond the list's end."""
    hits = np.zeros(k, dtype=np.bool_)
    hits[: min(k, ranked.size)] = np.isin(ranked[:k], truth)
    return hits


def recall(hits: Flags, sizes: Sizes | int) -> Doubles:
    """Share of the truth found, of at most k: |top k ∩ truth| / min(k, |truth|); NaN for an empty truth."""
    return _where_asked(hits.sum(axis=-1) / np.clip(sizes, 1, hits.shape[-1]), sizes)


def ndcg(hits: Flags, sizes: Sizes | int) -> Doubles:
    """Σ over hits of 1 / log2(1 + place), by what the best order would reach (Järvelin & Kekäläinen 2002, binary
    gains); NaN for an empty truth."""
    discounts = 1.0 / np.log2(np.arange(2, hits.shape[-1] + 2))
    best = np.cumsum(discounts)[np.clip(sizes, 1, hits.shape[-1]) - 1]
    return _where_asked(hits @ discounts / best, sizes)


def hit_rate(hits: Flags, sizes: Sizes | int) -> Doubles:
    """1 where at least one place is a hit, else 0; NaN for an empty truth."""
    return _where_asked(hits.any(axis=-1), sizes)


def reciprocal_rank(hits: Flags, sizes: Sizes | int) -> Doubles:
    """1 / place of the first hit, 0 without one (Voorhees 1999); its mean is the MRR; NaN for an empty truth."""
    return _where_asked(hits.any(axis=-1) / (hits.argmax(axis=-1) + 1.0), sizes)


def recall_at(ranked: Rows, truth: Rows, k: int) -> float:
    """`recall` of one list."""
    return float(recall(hits_of(ranked, truth, k), truth.size))


def ndcg_at(ranked: Rows, truth: Rows, k: int) -> float:
    """`ndcg` of one list."""
    return float(ndcg(hits_of(ranked, truth, k), truth.size))


def _where_asked(values: npt.ArrayLike, sizes: Sizes | int) -> Doubles:
    return np.where(np.asarray(sizes) > 0, np.asarray(values, dtype=np.float64), np.nan)


# How sure: resampled shoppers (Efron 1979).


@dataclass(frozen=True, slots=True)
class Paired:
    """Two systems on the same shoppers: a against b, with 95 % percentile intervals over resampled shoppers."""

    shoppers: int
    mean_a: float
    mean_b: float
    difference: float
    difference_interval: Interval
    ratio: float
    """Of the means, a / b; NaN where b's is 0, and so are the bounds below where b's resampled mean can be 0."""
    ratio_interval: Interval
    probability_not_better: float
    """Share of the resamples in which a's mean is at most b's."""


def resampled_means(columns: Doubles, rng: np.random.Generator, resamples: int = RESAMPLES) -> Doubles:
    """Means of columns [U, M] over shoppers drawn with replacement, float64 [R, M]; NaN values are left out of them.

    Every column sees the same draws, so that differences between columns are paired. Memory stays near 100 MB: a
    resample is a row of counts, and a block of rows times the columns is one matrix product.
    """
    shoppers = len(columns)
    known = ~np.isnan(columns)
    filled = np.where(known, columns, 0.0)
    means = np.empty((resamples, columns.shape[1]))
    block = max(1, 4_000_000 // shoppers)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        draws = rng.integers(0, shoppers, size=(rows, shoppers)) + shoppers * np.arange(rows)[:, None]
        times = np.bincount(draws.ravel(), minlength=rows * shoppers).reshape(rows, shoppers).astype(np.float64)
        with np.errstate(invalid="ignore"):
            means[start : start + rows] = (times @ filled) / (times @ known)
    return means


def percentiles(means: Doubles) -> Interval:
    """95 % percentile interval of resampled figures [R]; NaN twice if any of them is not a number."""
    if not np.isfinite(means).all():
        return float("nan"), float("nan")
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def bootstrap_interval(values: Doubles, rng: np.random.Generator, resamples: int = RESAMPLES) -> Interval:
    """95 % percentile interval of the mean over shoppers [U]."""
    return percentiles(resampled_means(values[:, None], rng, resamples)[:, 0])


def paired_bootstrap(a: Doubles, b: Doubles, rng: np.random.Generator, resamples: int = RESAMPLES) -> Paired:
    """How much better a is than b, both [U] and of the same shoppers in the same order.

    Raises:
        ValueError: if the lengths differ, or no shopper has both values.
    """
    if a.shape != b.shape:
        raise ValueError(f"a and b must hold the same shoppers, got {a.shape} and {b.shape}")
    both = ~(np.isnan(a) | np.isnan(b))
    if not both.any():
        raise ValueError("no shopper has a value of both systems")
    pair = np.column_stack([a, b])[both]
    return paired(pair.mean(axis=0), resampled_means(pair, rng, resamples), int(both.sum()))


def paired(means: Doubles, resampled: Doubles, shoppers: int) -> Paired:
    """The comparison from two means [2] and their resamples [R, 2] over the same draws."""
    (mean_a, mean_b), (many_a, many_b) = means, resampled.T
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio, ratios = np.float64(mean_a) / mean_b, many_a / many_b
    return Paired(
        shoppers=shoppers,
        mean_a=float(mean_a),
        mean_b=float(mean_b),
        difference=float(mean_a - mean_b),
        difference_interval=percentiles(many_a - many_b),
        ratio=float(ratio) if np.isfinite(ratio) else float("nan"),
        ratio_interval=percentiles(ratios),
        probability_not_better=float((many_a <= many_b).mean()),
    )
