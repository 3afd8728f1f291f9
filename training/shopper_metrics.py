"""One system's lists as columns of metrics, one value per shopper; what a task masks and what it counts.

A task decides both: `all` items; `new` ones, where what a shopper had engaged with before is masked for every system;
`cold` ones, the same lists as `new` with only the rows that are named as cold counting as found; `drawn` ones, lists of
what exploration drew for a shopper and nothing else (training.propensity).

U shoppers, N items, G groups. Knows nothing of means, intervals and other systems.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import polars as pl

from features.encode import ItemColumns
from features.vectors import Vectors
from features.vocab import Rows, Vocabulary
from training import list_metrics as beside
from training.metrics import Doubles, Flags, hit_rate, hits_of, ndcg, recall, reciprocal_rank

Columns: TypeAlias = dict[str, Doubles]
"""metric → float64 [U], NaN where it has no meaning for a shopper."""

ALL, NEW, COLD, DRAWN = "all", "new", "cold", "drawn"
KS = (10, 20)
_ACCURACY = {"recall": recall, "ndcg": ndcg, "hit": hit_rate, "mrr": reciprocal_rank}


class Asked(Protocol):
    """One shopper (training.queries.Query is one)."""

    @property
    def user_id(self) -> str:
        """The shop's id."""

    @property
    def truth(self) -> Rows:
        """Distinct rows engaged with in the window."""

    @property
    def seen(self) -> Rows:
        """Distinct rows engaged with before it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemFacts:
    """What is known of the N items that lists are made of; what is None is not measured."""

    count: int
    vectors: Vectors | None = None
    """Of every item, for diversity."""
    weights: Doubles | None = None
    """float64 [N], event weight before the window: popularity, for the long tail and novelty."""
    categories: Rows | None = None
    """int32 [N], index into `category_names`; -1 without one."""
    category_names: Sequence[str] = ()
    brands: Rows | None = None
    """int32 [N], index into `brand_names`; -1 without one."""
    brand_names: Sequence[str] = ()
    flagged: Flags | None = None
    """bool [N], items the shop flagged as sensitive."""


def item_facts(items: pl.DataFrame, columns: ItemColumns, weights: Doubles, vectors: Vectors | None) -> ItemFacts:
    """Facts of a bundle's items.

    Args:
        items: The ITEMS table in the bundle's order.
        columns: Of the same items.
        weights: float64 [N], event weight before the window.
        vectors: Of every item.
    """
    brands = Vocabulary(items["brand"].drop_nulls().unique().sort())
    return ItemFacts(
        count=items.height,
        vectors=vectors,
        weights=weights,
        categories=columns.category,
        category_names=columns.categories.ids,
        brands=brands.rows(items["brand"].to_list()),
        brand_names=brands.ids,
        flagged=items["sensitive"].to_numpy(),
    )


def truths_of(queries: Sequence[Asked], task: str, cold_rows: Rows | None = None) -> list[Rows]:
    """What counts as found for every shopper.

    Raises:
        ValueError: if the task is none of the four, or `cold` without cold rows.
    """
    if task in (ALL, DRAWN):
        return [query.truth for query in queries]
    fresh = [np.setdiff1d(query.truth, query.seen) for query in queries]
    if task == NEW:
        return fresh
    if task != COLD or cold_rows is None:
        raise ValueError(f"task {task!r}: expected {ALL!r}, {NEW!r}, {DRAWN!r}, or {COLD!r} with cold rows")
    return [np.intersect1d(truth, cold_rows) for truth in fresh]


def accuracy_columns(lists: Sequence[Rows], truths: Sequence[Rows], ks: Sequence[int] = KS) -> Columns:
    """Recall, NDCG, hit rate and reciprocal rank at every k; NaN where a truth is empty."""
    longest = max(ks)
    sizes = np.array([truth.size for truth in truths], dtype=np.int64)
    hits = np.zeros((len(truths), longest), dtype=np.bool_)
    for shopper, (rows, truth) in enumerate(zip(lists, truths, strict=True)):
        hits[shopper] = hits_of(rows, truth, longest)
    return {f"{name}@{k}": metric(hits[:, :k], sizes) for k in ks for name, metric in _ACCURACY.items()}


def list_columns(lists: Sequence[Rows], queries: Sequence[Asked], facts: ItemFacts, k: int) -> Columns:
    """What the first k of lists do beside being right, as far as the facts allow."""
    places = beside.places_of(lists, k)
    columns: Columns = {}
    if facts.weights is not None:
        columns[f"long_tail@{k}"] = beside.share_of_places(places, beside.long_tail(facts.weights))
        columns[f"novelty@{k}"] = beside.novelty(places, facts.weights)
    if facts.vectors is not None:
        columns[f"diversity@{k}"] = beside.diversity(places, facts.vectors)
    if facts.categories is not None:
        columns[f"miscalibration@{k}"] = beside.miscalibration(*category_shares(lists, queries, facts, k))
    if facts.flagged is not None:
        columns[f"flagged@{k}"] = beside.share_of_places(places, facts.flagged)
    return columns


def category_shares(
    lists: Sequence[Rows], queries: Sequence[Asked], facts: ItemFacts, k: int
) -> tuple[Doubles, Doubles]:
    """How shoppers' histories and how the first k of their lists spread over categories, float64 [U, G] twice."""
    if facts.categories is None:
        raise ValueError("facts.categories: None, but shares of categories were asked for")
    count = len(facts.category_names)
    wanted = beside.group_shares([query.seen for query in queries], facts.categories, count)
    return wanted, beside.group_shares([rows[:k] for rows in lists], facts.categories, count)
