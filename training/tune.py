"""Searches settings: `python -m training.tune --data complete-journey --cutoff-week 49 --trials 20 --timeout 36000`.

Choices:
- A trial is the scheme without the final towers: what is compared is its validation window, so nothing at or after
  the cutoff is read. Its objective is the geometric mean of Recall@20 over all items and over new ones: one
  percent of either counts the same, although one is seven times the other.
- A trial goes through several cutoffs, earliest first, and is stopped when its mean so far is below the median of
  earlier trials at the same point (Golovin et al. 2017, "Google Vizier"). The last cutoff is the given one.
- Tree-structured Parzen estimators (Bergstra et al. 2011), seeded by the seed and by how many trials there are, so
  that a study that goes on does not repeat what it has tried. The first trial of a study is the recipe itself.

The only file that imports optuna.
"""

import argparse
import dataclasses
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import polars as pl

from features.adapters import load
from features.schema import Dataset
from training.config import TrainConfig
from training.dataset import item_texts, select_catalogue
from training.progress import Timings, log_to_terminal
from training.recipes import RECIPES
from training.scheme import fit_by_windows
from training.splits import TimeSplit
from training.towers import Foundation, lay_foundation

log = logging.getLogger("training.tune")

FOLDS = 2
"""Cutoffs a trial goes through, one label window apart."""
_OPEN_TRIALS = 3
"""Trials that run to their end before any is stopped early."""


def suggest(trial: optuna.Trial, base: TrainConfig) -> TrainConfig:
    """One point of the search space: the recipe with other learning rates, sizes and limits."""
    text, interest, ranker, candidates = base.text, base.interest, base.ranker, base.candidates
    return replace(
        base,
        text=replace(
            text,
            learning_rate=trial.suggest_float("text.learning_rate", 5e-5, 2e-3, log=True),
            steps=trial.suggest_int("text.steps", max(text.steps // 2, 1), 2 * text.steps + 1, log=True),
            temperature=trial.suggest_float("text.temperature", 0.05, 0.4, log=True),
        ),
        interest=replace(
            interest,
            learning_rate=trial.suggest_float("interest.learning_rate", 3e-4, 1e-2, log=True),
            steps=trial.suggest_int("interest.steps", max(interest.steps // 2, 1), 2 * interest.steps + 1, log=True),
            dropout=trial.suggest_float("interest.dropout", 0.0, 0.4),
        ),
        ranker=replace(
            ranker,
            chance_leaves=trial.suggest_int("ranker.chance_leaves", 7, 127, log=True),
            chance_learning_rate=trial.suggest_float("ranker.chance_learning_rate", 0.02, 0.2, log=True),
            order_leaves=trial.suggest_int("ranker.order_leaves", 7, 63, log=True),
            order_learning_rate=trial.suggest_float("ranker.order_learning_rate", 0.01, 0.1, log=True),
            min_data_in_leaf=trial.suggest_int("ranker.min_data_in_leaf", 10, 400, log=True),
        ),
        candidates=replace(
            candidates,
            total=trial.suggest_int("candidates.total", candidates.total // 2, 2 * candidates.total),
            buy_again=trial.suggest_int("candidates.buy_again", candidates.buy_again // 2, 2 * candidates.buy_again),
            category=trial.suggest_int("candidates.category", 0, 2 * candidates.category),
        ),
    )


def recipe_as_is(base: TrainConfig) -> dict[str, Any]:
    """The recipe itself as a point of the search space, where it lies inside."""
    return {
        f"{part}.{name}": getattr(getattr(base, part), name)
        for part, names in (
            ("text", ("learning_rate", "steps", "temperature")),
            ("interest", ("learning_rate", "steps", "dropout")),
            (
                "ranker",
                ("chance_leaves", "chance_learning_rate", "order_leaves", "order_learning_rate", "min_data_in_leaf"),
            ),
            ("candidates", ("total", "buy_again", "category")),
        )
        for name in names
    }


@dataclass(frozen=True, slots=True)
class Fold:
    """One cutoff with what all trials share."""

    as_of: datetime
    items: pl.DataFrame
    foundation: Foundation


def lay_folds(data: Dataset, base: TrainConfig, as_of: datetime, count: int) -> list[Fold]:
    """Cutoffs one label window apart, the earliest first; encoder and frozen layers run once per fold, not per trial.

    Raises:
        ValueError: if the earliest leaves no catalogue.
    """
    window = timedelta(weeks=base.ranker.window_weeks)
    folds = []
    for back in reversed(range(count)):
        items = select_catalogue(data, as_of - back * window, base.catalogue.min_shoppers)
        folds.append(Fold(as_of - back * window, items, lay_foundation(item_texts(items), base)))
    return folds


def score(data: Dataset, fold: Fold, config: TrainConfig, seed: int) -> float:
    """Geometric mean of validation Recall@20 over all and over new items, 0 to 1."""
    timings = Timings(logging.getLogger("training.tune.trial"))
    split = TimeSplit(data, fold.as_of, config.ranker.window_weeks)
    fitted = fit_by_windows(split, fold.items, fold.foundation, config, seed, timings)
    recalls = [float(fitted.validation[task]["aisle"]["recall@20"] or 0.0) for task in ("all", "new")]
    return float((recalls[0] * recalls[1]) ** 0.5)


def tune(
    measure: Callable[[TrainConfig, Fold], float],
    folds: Sequence[Fold],
    base: TrainConfig,
    storage: Path,
    trials: int,
    timeout_seconds: float | None,
    seed: int,
) -> optuna.Study:
    """Run trials until there are `trials` new ones or the time is up, going on where `storage` left off.

    Args:
        measure: What a configuration scores at one cutoff, higher is better.
        folds: Cutoffs, earliest first.
        base: The recipe that the search starts from.
        storage: SQLite file; a study of the same name in it goes on.
        trials: New trials.
        timeout_seconds: No trial starts after this; None: no limit.
        seed: Of the sampler.
    """
    storage.parent.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=f"sqlite:///{storage}",
        study_name=storage.stem,
        load_if_exists=True,
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_OPEN_TRIALS),
    )
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials), multivariate=True)
    if not study.trials:
        study.enqueue_trial(recipe_as_is(base))

    def objective(trial: optuna.Trial) -> float:
        config = suggest(trial, base)
        scores: list[float] = []
        for position, fold in enumerate(folds):
            scores.append(measure(config, fold))
            mean = sum(scores) / len(scores)
            trial.report(mean, position)
            if trial.should_prune():
                raise optuna.TrialPruned
        log.info("trial %d: %.4f %s", trial.number, mean, trial.params)
        return mean

    study.optimize(objective, n_trials=trials, timeout=timeout_seconds)
    return study


def as_recipe(best: TrainConfig, base: TrainConfig, base_name: str, note: str) -> str:
    """Python for training/recipes.py: what differs from the base, and where it comes from."""
    lines = ["def tuned() -> TrainConfig:", f'    """{note}"""', f"    base = {base_name}()", "    return replace("]
    lines.append("        base,")
    for part in ("text", "interest", "ranker", "candidates"):
        ours, theirs = getattr(best, part), getattr(base, part)
        changed = [
            f"{field.name}={_plain(getattr(ours, field.name))}"
            for field in dataclasses.fields(ours)
            if getattr(ours, field.name) != getattr(theirs, field.name)
        ]
        if changed:
            lines.append(f"        {part}=replace(base.{part}, {', '.join(changed)}),")
    return "\n".join([*lines, "    )"])


def _plain(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else repr(value)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = _parser().parse_args(arguments)
    log_to_terminal()
    data, base = load(options.data, options.cache), RECIPES[options.recipe]()
    week = options.cutoff_week or data.calendar.week_of(data.events["event_time"].max())  # type: ignore[arg-type]
    folds = lay_folds(data, base, data.calendar.week_end(week), options.folds)
    name = options.study or f"{data.name}-{options.recipe}-w{week}"
    study = tune(
        lambda config, fold: score(data, fold, config, options.seed),
        folds,
        base,
        options.storage / f"{name}.db",
        options.trials,
        options.timeout,
        options.seed,
    )
    best = study.best_trial
    note = f"{options.recipe}, tuned on {data.name} up to week {week}: {best.value:.4f} in trial {best.number}."
    print(as_recipe(suggest(optuna.trial.FixedTrial(best.params), base), base, options.recipe, note))  # type: ignore[arg-type]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.tune", description=__doc__)
    parser.add_argument("--data", default="complete-journey", help="ADAPTER[:ARGUMENT][+live:DIR] (%(default)s)")
    parser.add_argument("--cutoff-week", type=int, help="read weeks ≤ N of the data's calendar (default: all)")
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="laptop", help="where the search starts")
    parser.add_argument("--trials", type=int, default=20, help="new trials (default %(default)s)")
    parser.add_argument("--timeout", type=float, help="seconds after which no trial starts (default: no limit)")
    parser.add_argument("--folds", type=int, default=FOLDS, help="cutoffs of a trial (default %(default)s)")
    parser.add_argument("--study", help="name of the study (default: data, recipe and week)")
    parser.add_argument("--storage", type=Path, default=Path("build/tune"), help="where studies are kept")
    parser.add_argument("--cache", type=Path, default=Path("build/data"), help="prepared data (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
