"""Going on from an earlier bundle: its text tower, interest tower, residuals and ranker, on what has happened since.

Choices:
- The text tower stays as it is; only texts it has not read are encoded. An item that is new starts from its text alone.
- The ranker is taken over: its labels lie before what the towers now learn from, and the windows after the parent's
  end are too short to fit another. A full run fits a new one.
"""

import dataclasses
from datetime import datetime
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import polars as pl
import torch

from features import bundle as files
from features.bundle import Bundle
from features.vocab import Vocabulary
from training.activations import FrozenActivations, text_vectors
from training.checkpoint import load_interest_tower, load_item_vectors, load_text_tower
from training.config import VECTOR_SIZE, TrainConfig
from training.dataset import Texts, item_texts
from training.interest_tower import ItemVectors
from training.stage_b import all_item_vectors
from training.text_tower import Tokens, open_text_tower
from training.towers import FittedText, Towers


class WarmStartError(Exception):
    """The parent cannot be gone on from; the message says what is missing."""


def config_of(bundle: Bundle) -> TrainConfig:
    """The settings that a bundle was trained with.

    Raises:
        WarmStartError: if its manifest's settings are not of this version of the code.
    """
    try:
        found: TrainConfig = _built(TrainConfig, bundle.manifest["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise WarmStartError(f"{bundle.root}: its settings cannot be read: {error}") from error
    return found


def _built(kind: type, values: Any) -> Any:
    """A dataclass from what dataclasses.asdict and JSON made of it."""
    if not dataclasses.is_dataclass(kind):
        return tuple(values) if isinstance(values, list) else values
    hints = get_type_hints(kind)
    return kind(**{name: _built(hints[name], value) for name, value in values.items()})


def is_possible(parent: Bundle, checkpoints: Path) -> bool:
    """Whether `load_start` would find what it needs."""
    try:
        config_of(parent)
    except WarmStartError:
        return False
    return (checkpoints / parent.version).is_dir()


def load_start(parent: Bundle, checkpoints: Path, items: pl.DataFrame, config: TrainConfig) -> tuple[Towers, Tokens]:
    """The parent's towers over a catalogue that may have changed since.

    Args:
        parent: The bundle to go on from.
        checkpoints: Where its torch weights lie, in a folder of its version.
        items: The ITEMS table to serve now.
        config: The parent's.

    Raises:
        WarmStartError: if the weights are not there.
    """
    folder = checkpoints / parent.version
    if not folder.is_dir():
        raise WarmStartError(f"{folder}: no torch weights of {parent.version} there")
    tower = load_text_tower(folder, config.text)
    _, tokens = open_text_tower(config.text)
    old = load_item_vectors(folder, config.interest.residual_dropout)
    old_ids = pl.read_parquet(parent.path(files.ITEMS))
    carried = _carried(old_ids, items)
    known = carried >= 0
    vectors = np.empty((items.height, old.text_vectors.shape[1]), dtype=np.float32)
    vectors[known] = old.text_vectors.numpy()[carried[known]]
    texts = item_texts(items.filter(pl.Series(~known)))
    vectors[~known] = _encoded(tower, tokens, texts)
    residuals = torch.zeros(vectors.shape)
    residuals[torch.from_numpy(known)] = old.residual.weight.detach()[torch.from_numpy(carried[known])]
    new = ItemVectors(torch.from_numpy(vectors), config.interest.residual_dropout)
    new.adapter.load_state_dict(old.adapter.state_dict())
    with torch.no_grad():
        new.residual.weight.copy_(residuals)
    interest = load_interest_tower(folder, config.interest)
    return Towers(FittedText(tower, vectors), interest, new, all_item_vectors(new)), tokens


def _carried(old: pl.DataFrame, items: pl.DataFrame) -> np.ndarray:
    """For each item its row in the old catalogue if its text is the same there, else -1."""
    rows = Vocabulary(old["item_id"]).rows(items["item_id"].to_list()).astype(np.int64)
    now, then = item_texts(items), item_texts(old)
    same = [
        row >= 0 and now.distinct[text] == then.distinct[then.of_row[row]]
        for row, text in zip(rows, now.of_row, strict=True)
    ]
    return np.where(same, rows, -1)


def _encoded(tower: Any, tokens: Tokens, texts: Texts) -> np.ndarray:
    """Vectors float32 [items, D] of texts the tower has not read."""
    if not texts.distinct:
        return np.empty((0, VECTOR_SIZE), dtype=np.float32)
    return text_vectors(tower, FrozenActivations(tower, tokens, texts.distinct))[texts.of_row]


def instant_after(parent: Bundle, as_of: datetime) -> datetime:
    """`as_of`, which must lie after the parent's.

    Raises:
        WarmStartError: if it does not.
    """
    if as_of <= parent.as_of:
        raise WarmStartError(f"{parent.version} knows everything before {parent.as_of}, which is not before {as_of}")
    return as_of
