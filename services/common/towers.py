"""What the model repository (services/triton) and its caller (services/ranking) agree on.

The version is part of a model's name, so that two bundles are served side by side while one replaces the other.
Histories are sent at one length (`features.spec.HISTORY_LENGTH`; oldest first, newest last, padded at the left with
event type 0), so that requests have one shape and Triton can batch them on either target. Knows nothing of Triton.
"""

import re
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from features.spec import HISTORY_LENGTH

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

VECTOR_WIDTH = 128
"""Numbers in an item vector and in an interest vector."""

MAX_BATCH_SIZE = 64
"""Texts, or histories, in one request at most."""


@dataclass(frozen=True, slots=True)
class TowerModels:
    """The names under which one bundle's two towers are served."""

    text: str
    """`text` (string [B, 1]) → `vector` (float32 [B, 128])."""
    interest: str
    """`history_vectors`, `event_types`, `ages_days` → `interest_vectors` (float32 [B, K, 128])."""

    @classmethod
    def of_version(cls, version: str) -> Self:
        """Names for a bundle's version; what is not a letter or a digit becomes `_`."""
        suffix = re.sub(r"[^0-9A-Za-z]", "_", version)
        return cls(text=f"text_tower_{suffix}", interest=f"interest_tower_{suffix}")


def pad_history(
    history_vectors: FloatArray, event_types: IntArray, ages_days: FloatArray
) -> tuple[FloatArray, IntArray, FloatArray]:
    """The newest 50 positions of a history, padded at the left with zeros.

    Args:
        history_vectors: [T, 128], oldest first, T ≥ 1.
        event_types: [T].
        ages_days: [T].

    Returns:
        [50, 128], [50] and [50].

    Raises:
        ValueError: T is 0 or not the same in all three, or the vectors are not 128 wide.
    """
    length = len(history_vectors)
    if (
        length == 0
        or history_vectors.shape != (length, VECTOR_WIDTH)
        or not len(event_types) == len(ages_days) == length
    ):
        shapes = f"{history_vectors.shape}, {event_types.shape} and {ages_days.shape}"
        raise ValueError(f"history_vectors, event_types and ages_days must be [T, {VECTOR_WIDTH}], [T], [T]: {shapes}")
    kept = min(length, HISTORY_LENGTH)
    vectors = np.zeros((HISTORY_LENGTH, VECTOR_WIDTH), np.float32)
    types = np.zeros(HISTORY_LENGTH, np.int64)
    ages = np.zeros(HISTORY_LENGTH, np.float32)
    for padded, values in ((vectors, history_vectors), (types, event_types), (ages, ages_days)):
        padded[-kept:] = values[-kept:]
    return vectors, types, ages
