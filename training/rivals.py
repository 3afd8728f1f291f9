"""The baselines that a bundle is set beside: two that need no settings, or all of them, tuned before its cutoff.

Choices: what the settings are chosen by is the newest window of what training may see (training.splits); then
everything is fitted again on all of it. Whatever is judged by comes after that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from features.encode import Floats
from features.schema import Dataset
from training.baselines import Popularity, RecencyFrequency
from training.baselines.spaces import SPACES, Material
from training.baselines.tuning import refit, sampled, tune
from training.config import TextTowerConfig, TrainConfig
from training.dataset import item_texts, sequences
from training.evaluation import TASKS, K, Scores
from training.splits import Split, now_us, sequences_before
from training.towers import fit_text, lay_foundation

QUESTIONS = 600
"""Shoppers whose validation window the settings are chosen by, at most."""
TRIALS = 6
"""Fits of one baseline, at most."""


@dataclass(frozen=True, slots=True)
class Rivals:
    """Fitted baselines and how their settings came about."""

    by_task: Mapping[str, Mapping[str, Scores]]
    """Task → name → baseline."""
    settings: Mapping[str, Mapping[str, Mapping[str, float]]]
    """Name → task → setting → value."""
    budget: str
    """A sentence for the report."""


def quick_rivals(split: Split, items: pl.DataFrame, back: int = 0) -> Rivals:
    """Popularity and recency-weighted frequency, as they are, fitted on what is known before window `back`."""
    known = sequences_before(split, items, back)
    found: dict[str, Scores] = {
        "popularity": Popularity(known),
        "recency_frequency": RecencyFrequency(known, now_us(split, back)),
    }
    return Rivals(dict.fromkeys(TASKS, found), {}, "Their settings are fixed; nothing was tuned.")


def tuned_rivals(
    split: Split,
    items: pl.DataFrame,
    seed: int,
    text_vectors: Floats | None,
    k: int = K,
    questions: int = QUESTIONS,
    trials: int = TRIALS,
) -> Rivals:
    """Every baseline, its settings chosen for each task by itself.

    Args:
        split: Cuts of what training saw.
        items: The bundle's ITEMS table.
        seed: Of the sample of shoppers and of what is fitted at random.
        text_vectors: float32 [N, D], for those that read text; None leaves them out.
        k: Recall@k is what settings are chosen by.
        questions: Shoppers that the settings are chosen by, at most.
        trials: Fits of one baseline, at most.
    """
    asked = sampled(split.window(items, 1).queries, questions, seed)
    material = Material(sequences_before(split, items, 1), now_us(split, 1), text_vectors, seed)
    choices = tune(SPACES, material, asked, k, TASKS, trials)
    everything = Material(sequences_before(split, items, 0), now_us(split, 0), text_vectors, seed)
    fitted = refit(SPACES, choices, everything)
    tried = {name: next(iter(by_task.values())) for name, by_task in choices.items()}
    return Rivals(
        by_task={task: {name: by_task[task] for name, by_task in fitted.items()} for task in TASKS},
        settings={
            name: {task: {**choice.fit, **choice.reading} for task, choice in by_task.items()}
            for name, by_task in choices.items()
        },
        budget=(
            f"Chosen for each task by recall@{k} of {len(asked)} shoppers in the window before the test; at most "
            f" {trials} fits of one baseline, {sum(choice.readings for choice in tried.values())} settings and "
            f"{sum(choice.seconds for choice in tried.values()):.0f} seconds in all. Fitted again on everything known "
            f"before the test."
        ),
    )


def zero_shot_vectors(data: Dataset, items: pl.DataFrame, as_of: datetime, encoder: str, seed: int) -> Floats:
    """What a text tower makes of the items before its first step, float32 [N, D]."""
    config = TrainConfig(text=TextTowerConfig(encoder=encoder, steps=0))
    return fit_text(lay_foundation(item_texts(items), config), sequences(data, items, as_of), config, seed).row_vectors
