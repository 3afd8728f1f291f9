"""Training rows for the ranker and its fit: LightGBM LambdaMART (Burges 2010).

Choices:
- Candidates come from the very sources that serve, so the ranker learns on what it will be asked to order.
- Every shopper asks twice: over all items, and over items new to them only; the second keeps the ranker from living
  on repeats.
- A share of the queries uses the fallback interest vector, so that degraded scores are on scale.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import lightgbm
import numpy as np
import numpy.typing as npt

from features import spec
from features.encode import Floats, encode
from services.ranking.ordering import (
    NO_ROWS,
    CandidateLimits,
    Interest,
    OrderingModel,
    fallback_interest,
    gather,
    interest_scores,
    nearest,
)
from training.config import RankerConfig
from training.progress import track
from training.queries import Window


@dataclass(frozen=True, slots=True)
class RankerRows:
    """Matrix float32 [R, F], labels int8 [R] and query sizes int64 [Q] summing to R."""

    matrix: Floats
    labels: npt.NDArray[np.int8]
    sizes: npt.NDArray[np.int64]


def ranker_rows(
    model: OrderingModel,
    window: Window,
    interests: Sequence[Interest],
    limits: CandidateLimits,
    config: RankerConfig,
    rng: np.random.Generator,
) -> RankerRows:
    """Candidates of every query with features as of the window's start and labels from its weeks.

    Queries without a positive among their candidates teach nothing and are left out.
    """
    matrices, labels = [], []
    for query, tower_interest in track(list(zip(window.queries, interests, strict=True)), "ranker rows"):
        if not query.shopper.is_known:
            continue
        shopper = query.shopper
        interest = tower_interest
        if rng.random() < config.fallback_share:
            interest = fallback_interest(model.vectors[shopper.history_rows])
        for excluded in (NO_ROWS, query.seen):
            near_rows = nearest(model.index, shopper, interest, limits, excluded)
            rows = gather(model, shopper, near_rows, limits, excluded).rows
            label = np.isin(rows, query.truth)
            if not label.any():
                continue
            kept = _sampled(label, config.negatives, rng)
            rows, label = rows[kept], label[kept]
            scores = interest_scores(interest, model.vectors[rows])
            fallback = interest.is_fallback
            matrices.append(encode(shopper, model.items, rows, scores, window.now_us, interest_fallback=fallback))
            labels.append(label.astype(np.int8))
    if not matrices:
        raise ValueError(
            "no query has a positive among its candidates; the data or the label window is too small for a ranker"
        )
    return RankerRows(np.concatenate(matrices), np.concatenate(labels), np.array([len(part) for part in labels]))


def _sampled(label: npt.NDArray[np.bool_], negatives: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Positions of all positives and of `negatives` random others, in order."""
    others = np.flatnonzero(~label)
    chosen = rng.permutation(others)[:negatives]
    return np.sort(np.concatenate([np.flatnonzero(label), chosen]))


def fit_ranker(train: RankerRows, validation: RankerRows | None, config: RankerConfig, seed: int, trees: int) -> str:
    """Fit and return LightGBM's model text.

    Args:
        train: Rows to learn from.
        validation: Rows to stop early on, or None to grow exactly `trees`.
        config: Settings.
        seed: For LightGBM's own draws.
        trees: Most trees to grow.
    """
    parameters = {
        "objective": "lambdarank",
        "metric": "ndcg",
        "eval_at": [20],
        "lambdarank_truncation_level": 40,
        "num_leaves": config.num_leaves,
        "learning_rate": config.learning_rate,
        "min_data_in_leaf": config.min_data_in_leaf,
        "max_bin": config.max_bin,
        "feature_fraction": 0.8,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "bagging_by_query": True,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,  # with more, bagging by query gives another model on every run
        "verbosity": -1,
    }
    data = _lightgbm_data(train, parameters)
    callbacks: list[Callable[..., object]] = []
    valid: list[lightgbm.Dataset] = []
    if validation is not None:
        callbacks.append(lightgbm.early_stopping(config.early_stopping, verbose=False))
        valid.append(_lightgbm_data(validation, parameters, reference=data))
    booster = lightgbm.train(parameters, data, num_boost_round=trees, valid_sets=valid, callbacks=callbacks)
    text: str = booster.model_to_string(num_iteration=booster.best_iteration or booster.current_iteration())
    return text


def tree_count(model_text: str) -> int:
    """Number of trees in a model text."""
    return int(lightgbm.Booster(model_str=model_text).num_trees())


def joined(first: RankerRows, second: RankerRows) -> RankerRows:
    """Both windows' rows, one after the other."""
    return RankerRows(
        np.concatenate([first.matrix, second.matrix]),
        np.concatenate([first.labels, second.labels]),
        np.concatenate([first.sizes, second.sizes]),
    )


def _lightgbm_data(
    rows: RankerRows, parameters: dict[str, object], reference: lightgbm.Dataset | None = None
) -> lightgbm.Dataset:
    return lightgbm.Dataset(
        rows.matrix,
        label=rows.labels,
        group=rows.sizes,
        feature_name=list(spec.MATRIX_COLUMNS),
        params=parameters,
        reference=reference,
    )
