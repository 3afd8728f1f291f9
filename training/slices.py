"""Which shoppers a mean is made of: by length of history, and by what a shop knows of its shoppers.

Choices: a grouping puts every shopper into exactly one group, so that nobody is left out; groups of fewer than
MIN_SHOPPERS are told as too small, never hidden. Knows no metric and no system.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

Codes = npt.NDArray[np.int64]

MIN_SHOPPERS = 30
"""Below this a mean over a group says next to nothing."""
MAX_GROUPS = 20
"""Of one attribute; the smallest groups beyond it become OTHER."""
NOT_STATED, OTHER = "not stated", "other"
HISTORY = "length of history"
HISTORY_GROUPS = (
    ("no history", 0),
    ("1-5 items", 1),
    ("6-20 items", 6),
    ("21-50 items", 21),
    ("51 items or more", 51),
)
"""Name and least number of distinct items engaged with before the instant."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """One way to part U shoppers."""

    dimension: str
    groups: Sequence[str]
    codes: Codes
    """int64 [U], index into `groups`."""


def history_grouping(seen_counts: Sequence[int]) -> Grouping:
    """By the number of distinct items each shopper had engaged with before."""
    least = [bound for _, bound in HISTORY_GROUPS]
    codes = np.digitize(np.asarray(seen_counts, dtype=np.int64), least) - 1
    return Grouping(HISTORY, [name for name, _ in HISTORY_GROUPS], codes)


def attribute_groupings(users: pl.DataFrame, user_ids: Sequence[str]) -> list[Grouping]:
    """By every attribute in a USERS table that at least one of `user_ids` has, in order of the attributes' names.

    A shopper with several values of one attribute counts under the first.
    """
    asked = pl.DataFrame({"user_id": user_ids}, schema={"user_id": pl.String})
    pairs = users.join(asked, on="user_id", how="semi").explode("attributes").unnest("attributes").drop_nulls("key")
    pairs = pairs.unique(["user_id", "key"], keep="first", maintain_order=True)
    return [
        _grouping(str(key), asked.join(pairs.filter(key=key), on="user_id", how="left")["value"])
        for key in pairs["key"].unique().sort()
    ]


def _grouping(dimension: str, values: pl.Series) -> Grouping:
    """Groups in the order a reader expects, then OTHER, then NOT_STATED."""
    counts = values.drop_nulls().value_counts(sort=True)
    kept = sorted(counts[values.name].head(MAX_GROUPS).to_list(), key=_reading_order)
    groups = [*kept, OTHER, NOT_STATED]
    code_of = {name: code for code, name in enumerate(kept)}
    other, missing = len(kept), len(kept) + 1
    codes = [missing if value is None else code_of.get(value, other) for value in values]
    used = sorted(set(codes))
    return Grouping(dimension, [groups[code] for code in used], np.searchsorted(used, codes).astype(np.int64))


def _reading_order(name: str) -> tuple[float, bool, str]:
    """ "Under 15K" before "15-24K" before "100-124K"; names without a number by the alphabet, at the end."""
    number = re.search(r"\d+", name)
    starts_below = name.lower().startswith(("under", "below", "less"))
    return (float(number.group()) if number else math.inf, not starts_below, name)
