"""What the model repository (services/triton) and its caller (services/ranking) agree on.

The version is part of a model's name, so that two bundles are served side by side while one replaces the other.
Histories are sent at one length (`features.spec.HISTORY_LENGTH`; oldest first, newest last, padded at the left with
event type 0), so that requests have one shape and Triton can batch them on either target. Knows nothing of Triton.
"""

import re
from dataclasses import dataclass
from typing import Self

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
