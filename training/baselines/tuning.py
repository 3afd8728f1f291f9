"""The baselines' settings, chosen on validation queries within a stated budget, for each task by itself.

Choices: coordinate search. Fits are compared by their first reading; then each parameter of the best fit's reading is
moved through its values in turn. That measures the sum of the choices in place of their product, and what costs a fit
is bounded by `trials`. The measure is Recall@k; a tie keeps the earlier setting.

Knows no protocol: whoever calls it says what was known, what was asked and what counts as seen.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from services.ranking.ordering import NO_ROWS
from training.baselines.lists import top
from training.baselines.spaces import Material, Reading, Scores, Settings, Space
from training.metrics import recall_at
from training.progress import track
from training.shopper_metrics import Asked

log = logging.getLogger(__name__)

TASKS = ("all", "new")
"""Every item, or only those that the shopper had not seen."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What tuning found for one baseline and task."""

    fit: Settings
    reading: Settings
    validation: float
    """Recall@k on the validation queries."""
    trials: int
    """Fits made."""
    readings: int
    """Settings measured, fits included."""
    seconds: float
    """For both tasks together."""


Choices = dict[str, dict[str, Choice]]
"""Baseline → task → what was chosen."""


def sampled(questions: Sequence[Asked], count: int, seed: int) -> list[Asked]:
    """At most `count` of the questions, drawn without replacement, in their order."""
    chosen = np.random.default_rng(seed).permutation(len(questions))[:count]
    return [questions[position] for position in np.sort(chosen)]


def mean_recall(baseline: Scores, questions: Sequence[Asked], tasks: Sequence[str], k: int) -> dict[str, float]:
    """Recall@k of each task over the shoppers that it leaves a truth; 0 where it leaves nobody one."""
    found: dict[str, list[float]] = {task: [] for task in tasks}
    for question in questions:
        scores = baseline.scores(question.user_id)
        for task in tasks:
            masked = question.seen if task == "new" else NO_ROWS
            truth = np.setdiff1d(question.truth, masked)
            if truth.size:
                found[task].append(recall_at(top(scores, k, masked), truth, k))
    return {task: float(np.mean(values)) if values else 0.0 for task, values in found.items()}


def tune(
    spaces: Mapping[str, Space],
    material: Material,
    questions: Sequence[Asked],
    k: int,
    tasks: Sequence[str] = TASKS,
    trials: int = 6,
) -> Choices:
    """Search every space; baselines that read text are left out where there are no vectors.

    Args:
        spaces: By baseline; one that is fitted like another comes after it.
        material: What was known when the questions were asked.
        questions: At least one; see `sampled` for the time it takes.
        k: List length.
        tasks: Which of TASKS.
        trials: Most fits of one baseline, at least 1.
    """
    choices: Choices = {}
    readable = {name: space for name, space in spaces.items() if material.vectors is not None or not space.reads_text}
    for name, space in track(list(readable.items()), "tune baselines"):
        like = choices[space.fitted_like] if space.fitted_like else {}
        fits = _distinct([choice.fit for choice in like.values()]) if like else space.fits[:trials]
        choices[name] = _searched(space, fits, material, questions, k, tasks)
        for task, choice in choices[name].items():
            log.info("%s, %s: %.4f by %s", name, task, choice.validation, {**choice.fit, **choice.reading})
    return choices


@dataclass(frozen=True, slots=True)
class _Best:
    """The best so far of one task."""

    value: float
    fit: Settings
    reading: Settings
    read: Reading


def _searched(
    space: Space,
    fits: Sequence[Settings],
    material: Material,
    questions: Sequence[Asked],
    k: int,
    tasks: Sequence[str],
) -> dict[str, Choice]:
    started = time.monotonic()
    first = {name: values[0] for name, values in space.readings.items()}
    best: dict[str, _Best] = {}
    for fit in fits:
        read = space.fit(material, fit)
        values = mean_recall(read(first), questions, tasks, k)
        for task, value in values.items():
            if task not in best or value > best[task].value:
                best[task] = _Best(value, fit, first, read)
    best = {task: _best_reading(space, found, questions, k, task) for task, found in best.items()}
    readings = len(fits) + sum(len(values) - 1 for values in space.readings.values())
    seconds = round(time.monotonic() - started, 1)
    return {
        task: Choice(found.fit, found.reading, found.value, len(fits), readings, seconds)
        for task, found in best.items()
    }


def _best_reading(space: Space, best: _Best, questions: Sequence[Asked], k: int, task: str) -> _Best:
    for name, values in space.readings.items():
        for value in values[1:]:
            reading = {**best.reading, name: value}
            recall = mean_recall(best.read(reading), questions, [task], k)[task]
            if recall > best.value:
                best = _Best(recall, best.fit, reading, best.read)
    return best


def _distinct(fits: Sequence[Settings]) -> list[Settings]:
    return [fit for position, fit in enumerate(fits) if fit not in fits[:position]]


def refit(spaces: Mapping[str, Space], choices: Choices, material: Material) -> dict[str, dict[str, Scores]]:
    """The chosen baselines made from other material: baseline → task → scores; tasks that agree share their fit."""
    made: dict[str, dict[str, Scores]] = {}
    for name, by_task in choices.items():
        fits = _distinct([choice.fit for choice in by_task.values()])
        reads = [spaces[name].fit(material, fit) for fit in fits]
        made[name] = {task: reads[fits.index(choice.fit)](choice.reading) for task, choice in by_task.items()}
    return made
