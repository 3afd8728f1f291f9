"""What shoppers did in a window that says something about a bundle which did not serve.

Shoppers can only act on what the serving bundle showed them, so that their events, taken as they are, favour it: what
another bundle would have shown was never seen (Yang et al., RecSys 2018, on missing-not-at-random feedback; Schnabel et
al., ICML 2016).

Choices:
- What no list led to (`recommendation_id` is missing) is free of what served.
- What a list led to counts where exploration drew the item: its propensity lies between 0 and 1. An item that stood in
  its place for sure had no alternative; what was done with it says nothing of another list and is left out, and so is
  what names a list that no impression tells of.
- A shopper's drawn items are put into order by both bundles; right are those that their first draw led to something
  with. Given that an item is drawn, what the shopper does with it depends on no bundle; how often it is drawn does, and
  so later draws do not count.
- Weights of 1 / propensity over what was drawn for anybody (Swaminathan & Joachims, NeurIPS 2015) were tried first:
  clipped they left the favour as it was, unclipped too few shoppers (LOG.md).
- The two kinds are judged apart: they are of other items.

What this cannot do: exploration draws little-known items only, so that of well-known ones free events alone speak. An
item that is thought of highly is drawn for better places on average: where shoppers act on a place rather than on an
item, some favour is left. A later purchase of a shown item, if the shop does not say which list led to it, is taken for
free.

Knows no bundle and no metric.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from features import spec
from training.queries import Query

Items = Mapping[str, Collection[str]]
"""Shopper → ids of items."""
_DRAW = ["recommendation_id", "item_id"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What can be judged on."""

    free: Items
    """Engaged with, and no list led to it."""
    drawn: Items
    """What exploration drew for whom."""
    taken: Items
    """Of these, what the first draw led to something with."""


def evidence_of(events: pl.DataFrame, begin: datetime, weeks: int) -> Evidence | None:
    """What speaks in the `weeks` from `begin` on; None where no event names a list, so that all are free.

    Args:
        events: The EVENTS table, impressions included.
        begin: Aware UTC instant.
        weeks: Length of the window; a list counts if it was shown in it.
    """
    happened = events.filter(pl.col("event_time").is_between(begin, begin + timedelta(weeks=weeks), closed="left"))
    said = happened.filter(pl.col("event_type").is_in(list(spec.EVENT_WEIGHTS)))
    from_lists = said.filter(pl.col("recommendation_id").is_not_null())
    if from_lists.is_empty():
        return None
    draws = _first_draws(happened)
    return Evidence(
        free=_by_user(said.filter(pl.col("recommendation_id").is_null())),
        drawn=_by_user(draws),
        taken=_by_user(draws.join(from_lists, on=_DRAW, how="semi")),
    )


def _first_draws(events: pl.DataFrame) -> pl.DataFrame:
    """`user_id`, `item_id` and the list by which exploration first drew the one for the other."""
    value = pl.element().struct.field("value").filter(pl.element().struct.field("key") == "propensity")
    chance = pl.col("attributes").list.eval(value).list.first().cast(pl.Float64, strict=False)
    return (
        events.filter(pl.col("event_type") == "impression", pl.col("recommendation_id").is_not_null())
        .filter(chance.is_between(0.0, 1.0, closed="none"))
        .sort("event_time", "event_id")
        .unique(["user_id", "item_id"], keep="first", maintain_order=True)
        .select("user_id", *_DRAW)
    )


def _by_user(pairs: pl.DataFrame) -> Items:
    return {str(user): frozenset(group["item_id"]) for (user,), group in pairs.group_by("user_id")}


def narrowed(queries: Sequence[Query], item_ids: Sequence[str], to: Items) -> list[Query]:
    """The queries with what of their truths is among a shopper's items, which may be nothing.

    Args:
        queries: Of the window.
        item_ids: Of every row.
        to: Of an Evidence.
    """
    found = []
    for query in queries:
        own = to.get(query.user_id, ())
        kept = np.array([item_ids[row] in own for row in query.truth.tolist()], dtype=np.bool_)
        found.append(replace(query, truth=query.truth[kept], truth_weights=query.truth_weights[kept]))
    return found
