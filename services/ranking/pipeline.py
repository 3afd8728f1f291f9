"""How a shopper is recommended: look up their row, ask for their interests, collect candidates, rank.

Every step outside this process has a time limit of its own, cut to what is left of the caller's. A step that fails is
replaced by the next best thing and named in the answer; nothing behind this service can turn a reply into an error.

This module does not know gRPC or the API's messages (app), nor how order comes about (ordering).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from features.clock import Clock, to_us
from features.encode import Shopper, history_ages_days, resolve
from features.store import StoreUnavailable
from features.vocab import NO_ROWS, Rows
from services.common.overload import NO_TURNS, Turns
from services.common.scorer import Scorer, ScorerUnavailable
from services.ranking.ordering import (
    EVERYTHING,
    Explanations,
    Interest,
    Mask,
    OrderingModel,
    RankedList,
    Selection,
    buy_again,
    explain,
    fallback_interest,
    gather,
    in_session,
    near_query,
    popular,
    propose,
    rank,
    recently_viewed,
    requested,
)
from services.ranking.release import Release
from services.ranking.retriever import Retriever, RetrieverUnavailable
from services.ranking.trace import Budgets, Degradation, Trace

OfContext: TypeAlias = Callable[[OrderingModel, Rows, int, Mask], RankedList]
"""Model, context rows, count, allowed rows → list."""
OfAll: TypeAlias = Callable[[OrderingModel, int, Mask], RankedList]
"""Model, count, allowed rows → list."""


class Users(Protocol):
    """Where shoppers' rows come from."""

    async def read(self, user_id: str) -> Mapping[str, Any] | None:
        """The shopper's stored row, or None.

        Raises:
            StoreUnavailable: no answer in time.
        """


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The steps, over one release."""

    release: Release
    users: Users
    scorer: Scorer
    retriever: Retriever
    clock: Clock
    budgets: Budgets
    stale_after_us: int
    turns: Turns = NO_TURNS
    """Who computes when."""
    is_behind: Callable[[str], bool] = field(default=lambda _: False)
    """Whether a shopper's features do not know of what the shopper did lately."""
    session_rows: Rows = field(default_factory=lambda: NO_ROWS)
    """What the shopper has before them now."""

    async def recommended_for_you(
        self, user_id: str, trace: Trace, selection: Selection = EVERYTHING, context_rows: Rows = NO_ROWS
    ) -> RankedList:
        """The ranker's list, or the popular one for a shopper nothing is known of; without the context's items."""
        model, limits, now_us = self.release.model, self.release.limits, self.clock.now_us()
        shopper = await self.shopper(user_id, trace)
        allowed = selection.without(context_rows).mask_for(shopper, now_us, model.item_count)
        if not shopper.is_known:
            if Degradation.USER_FEATURES_FALLBACK in trace.degradations:
                trace.degradations.add(Degradation.POPULARITY_ONLY)
            with trace.stage("ranking"):
                return popular(model, limits.total, allowed)
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(self.interest(shopper, trace))
            await asyncio.sleep(0)  # the question leaves; while Triton works:
            async with self.computing(trace, "candidates"):
                together = model.item_to_item.ask(shopper)
                proposals = propose(model, shopper, together, limits, allowed)
        interest = asked.result()
        near_rows = await self._near(shopper, interest, allowed, trace)
        async with self.computing(trace, "ranking"):
            candidates = gather(proposals, near_rows, limits)
            return rank(model, self.release.rankers.all_items, shopper, candidates, interest, together, now_us)

    async def buy_it_again(
        self, user_id: str, trace: Trace, selection: Selection = EVERYTHING, context_rows: Rows = NO_ROWS
    ) -> RankedList:
        """What the shopper has had before, in the ranker's order; empty for one nothing is known of."""
        model, now_us, shopper = self.release.model, self.clock.now_us(), await self.shopper(user_id, trace)
        allowed = selection.without(context_rows).mask_for(shopper, now_us, model.item_count)
        interest = await self.interest(shopper, trace)
        async with self.computing(trace, "ranking"):
            return buy_again(model, self.release.rankers.all_items, shopper, interest, now_us, allowed)

    async def recently_viewed(
        self, user_id: str, trace: Trace, selection: Selection = EVERYTHING, context_rows: Rows = NO_ROWS
    ) -> RankedList:
        """What the shopper looked at, latest first; empty for one nothing is known of."""
        shopper = await self.shopper(user_id, trace)
        item_count = self.release.model.item_count
        allowed = selection.without(context_rows).mask_for(shopper, self.clock.now_us(), item_count)
        with trace.stage("ranking"):
            return recently_viewed(shopper, allowed)

    async def rank(self, user_id: str, rows: Rows, trace: Trace, selection: Selection = EVERYTHING) -> RankedList:
        """The given rows in the ranker's order, without those left out; repeated rows keep their first place."""
        now_us, shopper = self.clock.now_us(), await self.shopper(user_id, trace)
        interest = await self.interest(shopper, trace)
        model = self.release.model
        async with self.computing(trace, "ranking"):
            together = model.item_to_item.ask(shopper)
            chosen = requested(rows[selection.mask_for(shopper, now_us, model.item_count)[rows]])
            return rank(model, self.release.rankers.all_items, shopper, chosen, interest, together, now_us)

    async def little_known(self, user_id: str, count: int, trace: Trace, selection: Selection) -> RankedList:
        """Items about which little is known, those nearest to the shopper's interests first by the ranker; for a
        shopper without interests the most popular of them."""
        model, now_us, shopper = self.release.model, self.clock.now_us(), await self.shopper(user_id, trace)
        allowed = selection.mask_for(shopper, now_us, model.item_count) & model.little_known
        interest = await self.interest(shopper, trace)
        near_rows = await self._near(shopper, interest, allowed, trace)
        rows = near_rows if near_rows.size else popular(model, count, allowed).rows
        async with self.computing(trace, "ranking"):
            together = model.item_to_item.ask(shopper)
            chosen = requested(rows[:count])
            return rank(model, self.release.rankers.all_items, shopper, chosen, interest, together, now_us)

    async def explain(self, user_id: str, rows: Rows, trace: Trace) -> Explanations:
        """Why the ranker scores these rows as it does for the shopper."""
        shopper = await self.shopper(user_id, trace)
        interest = await self.interest(shopper, trace)
        async with self.computing(trace, "explanation"):
            release = self.release
            return explain(release.model, release.rankers.all_items, shopper, interest, rows, self.clock.now_us())

    async def of_context(
        self, make: OfContext, user_id: str, context_rows: Rows, count: int, trace: Trace, selection: Selection
    ) -> RankedList:
        """`similar`, `others_you_may_like` or `bought_together`; the popular list when no context item is known."""
        if not context_rows.size:
            return await self.of_all(popular, user_id, count, trace, selection)
        allowed = await self.allowed(selection, user_id, trace)
        with trace.stage("retrieval"):
            return make(self.release.model, context_rows, count, allowed)

    async def of_all(
        self,
        make: OfAll,
        user_id: str,
        count: int,
        trace: Trace,
        selection: Selection = EVERYTHING,
        context_rows: Rows = NO_ROWS,
    ) -> RankedList:
        """`popular` or `trending`: the same for every shopper, but for what the selection leaves out for this one."""
        allowed = await self.allowed(selection.without(context_rows), user_id, trace)
        with trace.stage("ranking"):
            return make(self.release.model, count, allowed)

    async def allowed(self, selection: Selection, user_id: str, trace: Trace) -> Mask:
        """What the selection lets in; the shopper is looked up only where it depends on them."""
        item_count = self.release.model.item_count
        if not selection.purchased_within_us:
            return selection.mask(item_count)
        return selection.mask_for(await self.shopper(user_id, trace), self.clock.now_us(), item_count)

    @asynccontextmanager
    async def computing(self, trace: Trace, stage: str) -> AsyncIterator[None]:
        """Around what holds the event loop for long: one call at a time, once all that wait for admission have been
        heard."""
        queued = time.perf_counter()
        async with self.turns.turn():
            trace.add("queue", queued)
            with trace.stage(stage):
                yield

    async def shopper(self, user_id: str, trace: Trace) -> Shopper:
        """The shopper's row; an unknown one where there is none or the store does not answer."""
        row, now_us = None, self.clock.now_us()
        is_old = now_us - to_us(self.release.as_of) > self.stale_after_us
        if is_old or (user_id and self.is_behind(user_id)):
            trace.degradations.add(Degradation.STALE_FEATURES)
        if user_id:
            with trace.stage("features"):
                try:
                    async with asyncio.timeout(trace.at_most(self.budgets.features)):
                        row = await self.users.read(user_id)
                except (StoreUnavailable, TimeoutError):
                    trace.degradations.add(Degradation.USER_FEATURES_FALLBACK)
        if row is not None and "event_timestamp" in row:
            trace.user_features_age_seconds = (now_us - to_us(row["event_timestamp"])) / 1e6
        return in_session(resolve(row, self.release.model.items), self.session_rows, self.clock.now_us())

    async def interest(self, shopper: Shopper, trace: Trace) -> Interest:
        """The shopper's interest vectors; the mean of their history where the tower does not answer."""
        history = self.release.model.vectors[shopper.history_rows]
        if not history.size:
            return fallback_interest(history)
        with trace.stage("interest"):
            ages = history_ages_days(shopper, self.clock.now_us())
            limit = trace.at_most(self.budgets.interest)
            try:
                vectors = await self.scorer.interest_vectors(history, shopper.history_event_types, ages, limit)
                return Interest(vectors, is_fallback=False)
            except ScorerUnavailable:
                trace.degradations.add(Degradation.INTEREST_FALLBACK)
                return fallback_interest(history)

    async def _near(self, shopper: Shopper, interest: Interest, allowed: Mask, trace: Trace) -> Rows:
        if not interest.vectors.any():
            return NO_ROWS
        count, fresh = near_query(self.release.model, shopper, self.release.limits, allowed)
        with trace.stage("retrieval"):
            try:
                limit = trace.at_most(self.budgets.retrieval)
                return await self.retriever.nearest(interest.vectors, count, fresh, limit)
            except RetrieverUnavailable:
                trace.degradations.add(Degradation.RETRIEVAL_FALLBACK)
                return NO_ROWS
