"""The scheme that keeps the ranker honest: its labels come from windows that its towers, tables and features have not
seen.

Windows are counted back from the end of what may be seen (training.splits). For each, oldest first: towers,
item-to-item tables and features from before it, labels from within it. The newest window says how many trees; then the
ranker is refitted on all of them. Nothing after the end is ever read.

Choices: the towers are fitted once, before the oldest window, and go on from there for each newer one, as the nightly
run does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import polars as pl

from services.ranking.ordering import Interest, OrderingModel, Ranker, Rankers, popular_rows
from services.retrieval.index import build_index
from training.baselines import Popularity, RecencyFrequency
from training.config import RankerConfig, Task, TrainConfig
from training.dataset import Sequences
from training.evaluation import Scores, compare
from training.export import torch_interest_run
from training.item_to_item import fit_item_to_item
from training.judgement import Comparison
from training.loop import Surroundings
from training.progress import Timings
from training.queries import Window, interests_of
from training.ranker import FittedTrees, Growth, RankerRows, fit_ranker, joined, ranker_rows
from training.splits import Split, now_us, sequences_before
from training.towers import Foundation, Towers, fit_interest, fit_text

_VALIDATION_QUERIES = 3000
"""Shoppers whose lists are validated, at most."""


@dataclass(frozen=True, slots=True)
class FittedRanker:
    """The refitted ranker, how its predecessor did on the newest window, and the towers it was fitted with."""

    trees: Mapping[Task, FittedTrees]
    towers: Towers
    """Fitted on everything before the newest window."""
    validation: Comparison


def fit_by_windows(
    split: Split,
    items: pl.DataFrame,
    foundation: Foundation,
    config: TrainConfig,
    seed: int,
    timings: Timings,
    around: Surroundings | None = None,
) -> FittedRanker:
    """Run the scheme up to the refitted ranker."""
    around = around or Surroundings()
    rng = np.random.default_rng(seed)
    rows: list[dict[Task, RankerRows]] = []
    towers: Towers | None = None
    for back in range(config.ranker.windows, 0, -1):
        with timings.stage(f"towers before window {back}"):
            before, here = sequences_before(split, items, back), around.part(f"window-{back}")
            text = fit_text(foundation, before, config, seed, here.part("text")) if towers is None else towers.text
            towers = fit_interest(text, before, config, seed, towers, here)
        with timings.stage(f"window {back}"):
            asked = ask(split, items, before, towers, config, back)
            rows.append(_rows(asked, config, rng))
    assert towers is not None  # noqa: S101 - RankerConfig asks for two windows at least
    with timings.stage("ranker"):
        fitted = {task: _fit(rows, config.ranker, task, seed) for task in config.ranker.tasks}
        probes = _for_both({task: probe for task, (probe, _) in fitted.items()})
        refitted = _for_both({task: trees for task, (_, trees) in fitted.items()})
    with timings.stage("validation"):
        rankers = Rankers(all_items=Ranker(probes["all"].model_text), new_items=Ranker(probes["new"].model_text))
        validation = _validate(before, now_us(split, 1), asked, rankers, config, seed)
    return FittedRanker(refitted, towers, validation)


def _fit(
    windows: Sequence[Mapping[Task, RankerRows]], config: RankerConfig, task: Task, seed: int
) -> tuple[FittedTrees, FittedTrees]:
    """The ranker that the newest window judged, and the one refitted on all windows."""
    most = Growth(config.chance_trees, config.order_trees)
    probe = fit_ranker(joined(_teaching(windows[:-1], task)), windows[-1][task], config, seed, most)
    return probe, fit_ranker(joined(_teaching(windows, task)), None, config, seed, probe.growth)


def _teaching(windows: Sequence[Mapping[Task, RankerRows]], task: Task) -> list[RankerRows]:
    """The rows a task learns from: new items are so few among what is engaged with that theirs learns from all."""
    return [rows for window in windows for other, rows in window.items() if task in (other, "new")]


def _for_both(fitted: Mapping[Task, FittedTrees]) -> dict[Task, FittedTrees]:
    """A ranker for each task; the only one where a recipe asks for a single task."""
    [any_task, *_] = fitted
    return {task: fitted.get(task, fitted[any_task]) for task in get_args(Task)}


@dataclass(frozen=True, slots=True)
class Asked:
    """One window with everything a ranking needs."""

    window: Window
    model: OrderingModel
    interests: list[Interest]


def ask(split: Split, items: pl.DataFrame, known: Sequences, towers: Towers, config: TrainConfig, back: int) -> Asked:
    """Pose a window's queries to towers and tables from before it."""
    window = split.window(items, back)
    vectors, shoppers = towers.vectors, [query.shopper for query in window.queries]
    model = OrderingModel.assemble(
        window.items,
        vectors,
        build_index(vectors),
        fit_item_to_item(known, config.item_to_item, now_us(split, back)),
        popular_rows(window.items),
    )
    return Asked(window, model, interests_of(torch_interest_run(towers.interest), vectors, shoppers, window.now_us))


def _rows(asked: Asked, config: TrainConfig, rng: np.random.Generator) -> dict[Task, RankerRows]:
    return ranker_rows(asked.model, asked.window, asked.interests, config.candidates, config.ranker, rng)


def _validate(
    known: Sequences, instant_us: int, asked: Asked, rankers: Rankers, config: TrainConfig, seed: int
) -> Comparison:
    baselines: dict[str, Scores] = {
        "popularity": Popularity(known),
        "recency_frequency": RecencyFrequency(known, instant_us),
    }
    count = len(asked.window.queries)
    chosen = np.sort(np.random.default_rng(seed).permutation(count)[:_VALIDATION_QUERIES])
    window = replace(asked.window, queries=[asked.window.queries[one] for one in chosen])
    interests = [asked.interests[one] for one in chosen]
    return compare(asked.model, rankers, window, interests, config.candidates, baselines, seed)
