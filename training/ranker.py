"""Training rows for the ranker and its fit: boosted trees by LightGBM, for the chance of an engagement first, then
LambdaMART (Burges 2010) for the order.

Choices:
- Candidates come from the very sources that serve, so the ranker learns on what it will be asked to order.
- Every shopper asks twice: over all items, and over items new to them only. Each task has a ranker of its own: what is
  bought again and what is discovered are told apart by different features (LOG.md).
- Gradients of the chance use every row of every list; those of the order only pairs that are told apart wrongly. Begun
  with the one and finished with the other, both tasks' validation lists are a little better than with either alone; on
  the test weeks that is not to be told from noise (LOG.md).
- Labels are graded by what the shopper did: a purchase weighs more than a click.
- A share of the queries uses the fallback interest vector, so that degraded scores are on scale.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import lightgbm
import numpy as np
import numpy.typing as npt

from features import spec
from features.encode import Floats, encode
from features.vocab import NO_ROWS, Rows
from services.ranking.ordering import (
    CandidateLimits,
    Interest,
    OrderingModel,
    fallback_interest,
    gather,
    mask_without,
    model_scores,
    nearest,
    propose,
)
from training.config import RankerConfig, Task
from training.progress import track
from training.queries import Query, Window

_CHANCE: Mapping[str, object] = {"objective": "binary"}
_ORDER: Mapping[str, object] = {"objective": "lambdarank", "lambdarank_truncation_level": 40}
_GRADES = (0.01, 0.2, 0.8)
"""Event weights from which a label's grade is 1 (views, clicks), 2 (carts, shares, reviews) and 3 (purchases)."""


@dataclass(frozen=True, slots=True)
class RankerRows:
    """Matrix float32 [R, F], labels and query sizes int64 [Q] summing to R."""

    matrix: Floats
    labels: Floats
    """float32 [R], the event weight of what was engaged with, 0 for the rest."""
    sizes: npt.NDArray[np.int64]


def ranker_rows(
    model: OrderingModel,
    window: Window,
    interests: Sequence[Interest],
    limits: CandidateLimits,
    config: RankerConfig,
    rng: np.random.Generator,
) -> dict[Task, RankerRows]:
    """Candidates of every query with features as of the window's start and labels from its weeks, for each task.

    Queries without a positive among their candidates teach nothing and are left out.

    Raises:
        ValueError: if a task has no query left.
    """
    parts: dict[Task, list[tuple[Floats, Floats]]] = {task: [] for task in config.tasks}
    for query, tower_interest in track(list(zip(window.queries, interests, strict=True)), "ranker rows"):
        if not query.shopper.is_known:
            continue
        shopper = query.shopper
        interest = tower_interest
        if rng.random() < config.fallback_share:
            interest = fallback_interest(model.vectors[shopper.history_rows])
        together = model.item_to_item.ask(shopper)
        for task in config.tasks:
            allowed = mask_without(None, NO_ROWS if task == "all" else query.seen, model.item_count)
            near_rows = nearest(model, shopper, interest, limits, allowed)
            rows = gather(propose(model, shopper, together, limits, allowed), near_rows, limits).rows
            label = _weights_of(query, rows)
            if not label.any():
                continue
            kept = _sampled(label > 0, config.negatives, rng)
            rows, label = rows[kept], label[kept]
            said = model_scores(model, shopper, interest, together, rows)
            matrix = encode(shopper, model.items, rows, said, query.now_us)
            parts[task].append((matrix, label))
    return {task: _stacked(task, found) for task, found in parts.items()}


def _weights_of(query: Query, rows: Rows) -> Floats:
    """The event weight of each row for the query, float32 [n]; 0 where it was not engaged with."""
    place = np.searchsorted(query.truth, rows).clip(max=query.truth.size - 1)
    weights: Floats = np.where(query.truth[place] == rows, query.truth_weights[place], np.float32(0.0))
    return weights


def _stacked(task: Task, parts: Sequence[tuple[Floats, Floats]]) -> RankerRows:
    if not parts:
        raise ValueError(
            f"task {task}: no query has a positive among its candidates; the data or the label window is too small"
        )
    sizes = np.array([label.size for _, label in parts])
    return RankerRows(np.concatenate([matrix for matrix, _ in parts]), np.concatenate([one for _, one in parts]), sizes)


def _sampled(label: npt.NDArray[np.bool_], negatives: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Positions of all positives and of `negatives` random others, in order."""
    others = np.flatnonzero(~label)
    chosen = rng.permutation(others)[:negatives]
    return np.sort(np.concatenate([np.flatnonzero(label), chosen]))


@dataclass(frozen=True, slots=True)
class Growth:
    """How many trees a ranker has of each kind."""

    chance: int
    """Grown for the chance of an engagement."""
    order: int
    """Grown on top of them for the order of each list."""


@dataclass(frozen=True, slots=True)
class FittedTrees:
    """LightGBM's model text and what it consists of."""

    model_text: str
    growth: Growth


def fit_ranker(
    train: RankerRows, validation: RankerRows | None, config: RankerConfig, seed: int, most: Growth
) -> FittedTrees:
    """Grow trees for the chance of an engagement first, then LambdaMART's for the order on top of them.

    Args:
        train: Rows to learn from.
        validation: Rows to stop early on, or None to grow exactly `most`.
        config: Settings.
        seed: For LightGBM's own draws.
        most: Most trees to grow.
    """
    shared = _shared(config, seed)
    for_chance = {**shared, **_CHANCE, "num_leaves": config.chance_leaves, "learning_rate": config.chance_learning_rate}
    for_order = {**shared, **_ORDER, "num_leaves": config.order_leaves, "learning_rate": config.order_learning_rate}
    rows = [_Binned.of(train, shared)]
    if validation is not None:
        rows.append(_Binned.of(validation, shared, reference=rows[0].data))
    chance = _grown([one.for_chance() for one in rows], for_chance, config, most.chance)
    both = _grown([one.for_order() for one in rows], for_order, config, most.order, chance)
    grown = Growth(chance.num_trees(), both.num_trees() - chance.num_trees())
    return FittedTrees(both.model_to_string(), grown)


@dataclass(frozen=True, slots=True)
class _Binned:
    """Rows in LightGBM's bins, made once: trees of both kinds are grown on them, one kind after the other."""

    data: lightgbm.Dataset
    weights: Floats
    """float32 [R], the event weights."""
    grades: npt.NDArray[np.int64]
    """int64 [R], 0 for what was not engaged with."""

    @classmethod
    def of(
        cls, rows: RankerRows, parameters: Mapping[str, object], reference: lightgbm.Dataset | None = None
    ) -> "_Binned":
        """Bins of their own, or those of `reference`."""
        grades = np.searchsorted(_GRADES, rows.labels, side="right")
        data = lightgbm.Dataset(
            rows.matrix,
            label=grades,
            reference=reference,
            group=rows.sizes,
            feature_name=list(spec.MATRIX_COLUMNS),
            params=dict(parameters),
            free_raw_data=False,  # what the first trees say of it is what the others begin at
        )
        return cls(data.construct(), rows.labels, grades)

    def for_chance(self) -> lightgbm.Dataset:
        """Whether there was an engagement, by its weight."""
        engaged = self.grades > 0
        return self.data.set_label(engaged).set_weight(np.where(engaged, self.weights, 1.0))

    def for_order(self) -> lightgbm.Dataset:
        """The grades, all of one weight."""
        return self.data.set_label(self.grades).set_weight(None).set_field("weight", None)  # the first keeps what was


def _grown(
    rows: Sequence[lightgbm.Dataset],
    parameters: Mapping[str, object],
    config: RankerConfig,
    trees: int,
    start: lightgbm.Booster | None = None,
) -> lightgbm.Booster:
    """`start` and at most `trees` more, without those after the best by NDCG@20 on the second of `rows`, if any."""
    data, *judges = rows
    callbacks: list[Callable[..., object]] = []
    if judges:
        callbacks.append(lightgbm.early_stopping(config.early_stopping, verbose=False))
    booster = lightgbm.train(
        dict(parameters), data, num_boost_round=trees, valid_sets=judges, init_model=start, callbacks=callbacks
    )
    kept = booster.best_iteration or booster.current_iteration()
    return lightgbm.Booster(model_str=booster.model_to_string(num_iteration=kept))


def _shared(config: RankerConfig, seed: int) -> dict[str, object]:
    """What trees of both kinds, and the bins, are made with."""
    return {
        "metric": "ndcg",
        "eval_at": [20],
        "min_data_in_leaf": config.min_data_in_leaf,
        "max_bin": config.max_bin,
        "feature_fraction": 0.8,
        "seed": seed,
        "deterministic": True,  # and no bagging by query, which gives another model on every run with several threads
        "force_row_wise": True,
        "num_threads": 2,
        "verbosity": -1,
    }


def joined(windows: Sequence[RankerRows]) -> RankerRows:
    """All windows' rows, one after the other."""
    return RankerRows(
        np.concatenate([rows.matrix for rows in windows]),
        np.concatenate([rows.labels for rows in windows]),
        np.concatenate([rows.sizes for rows in windows]),
    )
