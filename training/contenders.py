"""What the gate compares: two bundles as they would answer the same shoppers.

Choices:
- Both are asked as they would serve from that instant on: shoppers as they are then, each bundle with its own
  vectors, columns, index and ranker. An older bundle's columns are as old as it is; that is what serving it costs.
- A truth or a place is an item of the shop, whichever bundle knows it: an item that a bundle left out is one it
  cannot show, not one that nobody asks for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from features import bundle as files
from features.bundle import Bundle
from features.schema import Dataset
from features.vocab import Rows, Vocabulary
from services.ranking.ordering import NO_ROWS, CandidateLimits, Mask, OrderingModel, Rankers, open_model
from training.evaluation import model_lists
from training.export import onnx_interest_run
from training.judgement import Judgement, judge
from training.propensity import Items, evidence_of, narrowed
from training.queries import InterestRun, Query, interests_of, open_window
from training.shopper_metrics import ALL, DRAWN, NEW, ItemFacts
from training.slices import attribute_groupings, history_grouping
from training.verdict import CANDIDATE, SERVING

TASKS = (ALL, NEW)


@dataclass(frozen=True, slots=True)
class Contender:
    """What answers: a bundle in memory, or one that is not written yet."""

    items: pl.DataFrame
    """The ITEMS table, in the order of its rows."""
    model: OrderingModel
    rankers: Rankers
    limits: CandidateLimits
    interest: InterestRun

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> "Contender":
        """From the bundle's own files."""
        return cls(
            items=pl.read_parquet(bundle.path(files.ITEMS)),
            model=open_model(bundle),
            rankers=Rankers.load(bundle),
            limits=CandidateLimits(**bundle.manifest["config"]["candidates"]),
            interest=onnx_interest_run(bundle.path(files.INTEREST_TOWER)),
        )


@dataclass(frozen=True, slots=True)
class _Asked:
    """Everybody with an event in a window, and what is known of them and of the shop then."""

    data: Dataset
    shop: pl.DataFrame
    """The ITEMS table of everything that either contender or the shop knows."""
    instant: datetime
    weeks: int
    queries: list[Query]
    """In rows of `shop`."""

    def lists(self, contender: Contender, drawn: Items | None) -> dict[str, list[Rows]]:
        """Task → the served list of every query, in rows of `shop`; none for a shopper who asks for nothing that the
        contender has. With the items that were drawn for shoppers, lists of these alone as a further task."""
        window = open_window(self.data, contender.items, self.instant, self.weeks)
        shoppers = [query.shopper for query in window.queries]
        interests = interests_of(contender.interest, contender.model.vectors, shoppers, window.now_us)
        row_in_shop = Vocabulary(self.shop["item_id"]).rows(contender.items["item_id"].to_list())
        masks: dict[str, list[Mask] | None] = dict.fromkeys(TASKS)
        if drawn is not None:
            own = Vocabulary(contender.items["item_id"])
            masks[DRAWN] = [_mask(own.rows(list(drawn.get(query.user_id, ()))), own) for query in window.queries]
        found = {}
        for task, of_task in masks.items():
            asked = (window, interests, contender.limits, task, of_task)
            of_window = model_lists(contender.model, contender.rankers, *asked)
            of_user = {
                query.user_id: row_in_shop[one.rows] for query, one in zip(window.queries, of_window, strict=True)
            }
            found[task] = [of_user.get(query.user_id, NO_ROWS) for query in self.queries]
        return found


def judge_pair(
    data: Dataset,
    candidate: Contender,
    serving: Contender,
    instant: datetime,
    weeks: int,
    seed: int,
    *,
    all_events: bool = False,
) -> Judgement:
    """Both on the same shoppers: everybody with an event in the `weeks` from `instant` on.

    Where lists led to some of the events, only what is free of them counts under the usual tasks, and what exploration
    drew is a task of its own; with `all_events` all count alike.

    Raises:
        ValueError: if nobody has one.
    """
    shop = _all_items(data, candidate.items, serving.items)
    queries = open_window(data, shop, instant, weeks).queries
    if not queries:
        raise ValueError(f"{data.name}: no event in the {weeks} weeks after {instant:%Y-%m-%d}; nothing to judge by")
    evidence = None if all_events else evidence_of(data.events, instant, weeks)
    asked = _Asked(data, shop, instant, weeks, queries)
    drawn = evidence.drawn if evidence else None
    found = {name: asked.lists(one, drawn) for name, one in ((CANDIDATE, candidate), (SERVING, serving))}
    if evidence is None:
        return _judged(asked, queries, found, TASKS, seed)
    item_ids = shop["item_id"].to_list()
    free, taken = (narrowed(queries, item_ids, items) for items in (evidence.free, evidence.taken))
    return _judged(asked, free, found, TASKS, seed).beside(_judged(asked, taken, found, (DRAWN,), seed))


def _judged(
    asked: _Asked,
    queries: Sequence[Query],
    found: Mapping[str, Mapping[str, list[Rows]]],
    tasks: Sequence[str],
    seed: int,
) -> Judgement:
    return judge(
        {task: {name: of_task[task] for name, of_task in found.items()} for task in tasks},
        queries,
        ItemFacts(count=asked.shop.height, flagged=asked.shop["sensitive"].to_numpy()),
        seed,
        groupings=[
            history_grouping([query.seen.size for query in queries]),
            *attribute_groupings(asked.data.users, [query.user_id for query in queries]),
        ],
        ours=CANDIDATE,
    )


def _mask(rows: Rows, vocabulary: Vocabulary) -> Mask:
    """bool [N], True at the known ones of the rows."""
    mask = np.zeros(len(vocabulary), dtype=np.bool_)
    mask[rows[rows >= 0]] = True
    return mask


def _all_items(data: Dataset, *tables: pl.DataFrame) -> pl.DataFrame:
    """The shop's items, as it describes them now, and what only a bundle remembers."""
    return pl.concat([data.items, *tables]).unique("item_id", keep="first", maintain_order=True).sort("item_id")
