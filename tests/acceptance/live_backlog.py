"""Line 4: the updater is away for five minutes while events go on coming in.

It is stopped as for an upgrade and started again; all the time shoppers write at a steady rate and others are given
lists. Its positions in the streams, the metrics of the ranking process and of the updater, and what replies say tell
how far features are behind; the log tells in the end that nothing is missing.
"""

import asyncio
import os
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from aisle.v1 import recommendation_service_pb2 as messages
from prometheus_client.parser import text_string_to_metric_families

from features import event_log
from services.client import RecommendationClient
from services.common import streams
from services.stack import Stack
from tests.acceptance.folders import emptied
from tests.acceptance.live_load import Load, RunningLoad, load_under_way
from tests.acceptance.live_parts import Drained, drained, until
from tests.acceptance.ranking_stack import FOR_YOU, pinned_stack, restart_pinned, shoppers
from tests.acceptance.rows import Row, at_least, at_most, holds, told

AWAY_SECONDS = 300.0
PER_SECOND = 200.0
"""Well below a third of what an updater manages on half of two cores, with what else is asked there."""
BATCH = 20
TIMES_AS_FAST = 3.0
PROBES = 20
"""Shoppers whose lists are asked for."""
STALE_SECONDS = 30.0
"""As AISLE_LIVE_STALE_SECONDS is by default: age of the oldest event that features do not know."""
_QUIET_SECONDS = 60.0
_CATCH_UP_SECONDS = 900.0
_POLL_SECONDS = 0.25
_CALL_SECONDS = 5.0
_STALE = messages.DEGRADATION_STALE_FEATURES
_EXPORTING = '"message": "exporting metrics"'
_AGE, _LAG = "aisle_user_feature_age_seconds", "aisle_updater_lag_seconds"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How long and how much."""

    away_seconds: float = AWAY_SECONDS
    per_second: float = PER_SECOND
    batch: int = BATCH
    stale_seconds: float = STALE_SECONDS


@dataclass(frozen=True, slots=True)
class Watched:
    """Where a stack is looked at."""

    stack: Stack
    logs: Path
    probes: Sequence[str]

    def stale_share(self) -> float:
        """The share of the probes' replies that say STALE_FEATURES."""
        requests = [messages.RecommendRequest(placement=FOR_YOU, user_id=name, page_size=5) for name in self.probes]
        with RecommendationClient(self.stack.addresses["ranking"], timeout_seconds=_CALL_SECONDS) as client:
            return sum(_STALE in client.recommend(request).degradations for request in requests) / len(requests)

    def mean_age(self) -> float:
        """Mean age of the probes' features, by the ranking process's own metrics, seconds."""
        before = self._metric("ranking", _AGE)
        self.stale_share()
        after = self._metric("ranking", _AGE)
        return (after[f"{_AGE}_sum"] - before[f"{_AGE}_sum"]) / (after[f"{_AGE}_count"] - before[f"{_AGE}_count"])

    def lag(self) -> float:
        """Age of the oldest event that is not in features, by the updater's own metrics, seconds."""
        return max(self._metric("updater", _LAG).values(), default=0.0)

    def left(self) -> tuple[int, bool]:
        """Entries whose effect on features is not committed, and whether the log lacks any."""
        found = asyncio.run(_drained(self.stack.addresses["valkey"]))
        return found.behind_in_features, found.shards_behind_in_log > 0

    def _metric(self, part: str, family: str) -> dict[str, float]:
        """A family's samples of a part, by name and labels, without buckets."""
        lines = [line for line in (self.logs / f"{part}.log").read_text().splitlines() if _EXPORTING in line]
        address = lines[-1].split('"address": "')[1].split('"')[0]
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=_CALL_SECONDS) as answer:
            text = answer.read().decode()
        return {
            sample.name + "".join(sample.labels.values()): sample.value
            for found in text_string_to_metric_families(text)
            if found.name == family
            for sample in found.samples
            if not sample.name.endswith("_bucket")
        }


def backlog() -> list[Row]:
    """Five minutes, over the default data and bundle, and from empty stores: rows of an earlier run are of a later time
    than this one's clock, which begins at the bundle's instant again."""
    everyone = shoppers()
    plan = Plan()
    folder = emptied("live/backlog")
    with (
        metrics_on_free_ports(),
        pinned_stack(live=True, build=folder, data_cache=Path("build/data")) as stack,
    ):
        return measured(stack, folder, Path("bundles"), everyone, plan, restart_pinned)


def measured(
    stack: Stack,
    build: Path,
    bundles: Path,
    everyone: Sequence[str],
    plan: Plan,
    restart: Callable[[Stack, str], None] = Stack.restart,
) -> list[Row]:
    """Stop, wait, start, catch up, over a running stack whose parts export metrics.

    Args:
        stack: with all that is live.
        build: its folder.
        bundles: where its bundle is.
        everyone: shoppers; the first PROBES of them are asked for lists.
        plan: how long and how much.
        restart: starts a part of the stack again.
    """
    watched = Watched(stack, build / "logs", everyone[:PROBES])
    load = Load(bundles=bundles, prefix=f"backlog-{time.time_ns()}", per_second=plan.per_second, batch=plan.batch)
    with load_under_way(stack.addresses["ingest"], load, everyone, build / "logs") as running:
        until(lambda: watched.lag() < 1.0, _QUIET_SECONDS, "features keep up")
        fresh = watched.stale_share()
        stack.stop("updater")
        stopped = time.monotonic()
        until(lambda: watched.stale_share() == 1.0, plan.stale_seconds + _QUIET_SECONDS, "every reply says so")
        named_after = time.monotonic() - stopped
        time.sleep(max(0.0, plan.away_seconds - named_after))  # how long it is away is what is promised
        stale, age = watched.stale_share(), watched.mean_age()
        away, behind = time.monotonic() - stopped, watched.left()[0]
        restart(stack, "updater")
        caught_up = _catch_up(watched, plan, behind)
        gone_after = until(lambda: watched.stale_share() == 0.0, _QUIET_SECONDS, "no reply says so any more")
        rows = [
            told("updater_away_seconds", round(away, 1)),
            told("stale_named_after_seconds", round(named_after, 1)),
            at_most("stale_replies_before_share", fresh, 0),
            at_least("stale_replies_while_away_share", stale, 1.0),
            at_least("age_of_features_in_metrics_over_time_away", round(age / away, 3), 0.95),
            told("events_behind_at_the_start", behind),
            *caught_up,
            told("stale_gone_after_seconds", round(gone_after, 1)),
        ]
        rows += _nothing_lost(watched, running, build / "live", load.prefix, plan)
    return rows


def _catch_up(watched: Watched, plan: Plan, behind: int) -> list[Row]:
    """From the start of the process until features know all that has come in."""
    started, arrived = time.monotonic(), asyncio.run(_entries_added(watched.stack.addresses["valkey"]))
    largest_lag = 0.0
    while (left := watched.left()[0]) > plan.per_second:  # what a second brings is not behind
        if time.monotonic() - started > _CATCH_UP_SECONDS:
            raise TimeoutError(f"{left} events are still behind")
        largest_lag = max(largest_lag, _or_zero(watched.lag))
        time.sleep(_POLL_SECONDS)
    seconds = time.monotonic() - started
    came = asyncio.run(_entries_added(watched.stack.addresses["valkey"])) - arrived
    applied = (behind + came - left) / seconds
    return [
        told("caught_up_after_seconds", round(seconds, 1)),
        told("arrived_per_second_meanwhile", round(came / seconds, 1)),
        at_least("applied_over_arrived_while_catching_up", round(applied / (came / seconds), 2), TIMES_AS_FAST),
        holds("lag_in_the_updaters_metrics", value=largest_lag > plan.away_seconds / 2),
    ]


def _nothing_lost(watched: Watched, running: RunningLoad, live: Path, prefix: str, plan: Plan) -> list[Row]:
    """The log against what the load says was accepted."""
    summary = running.finish()
    until(lambda: watched.left() == (0, False), _QUIET_SECONDS * 3, "everything is in files")
    ids = event_log.read(live).filter(pl.col("event_id").str.starts_with(f"{prefix}-"))["event_id"]
    return [
        told("accepted_events", summary.accepted),
        at_least("accepted_per_second", round(summary.per_second), 0.95 * plan.per_second),
        at_most("not_accepted", sum(summary.other.values()), 0),
        at_most("accepted_but_missing_from_log", summary.accepted - ids.n_unique(), 0),
        at_most("doubled_in_log", ids.len() - ids.n_unique(), 0),
    ]


@contextmanager
def metrics_on_free_ports() -> Iterator[None]:
    """Parts that are started within the block export metrics, each at a port that its log names."""
    key, before = "AISLE_METRICS_PORT", os.environ.get("AISLE_METRICS_PORT")
    os.environ[key] = "0"
    try:
        yield
    finally:
        del os.environ[key]
        os.environ.update({} if before is None else {key: before})


def _or_zero(look: Callable[[], float]) -> float:
    """What can be seen of a process that may not be up yet."""
    try:
        return look()
    except OSError:
        return 0.0


async def _drained(redis: str) -> Drained:
    client = streams.connect(redis, _CALL_SECONDS)
    try:
        return await drained(client)
    finally:
        await client.aclose()


async def _entries_added(redis: str) -> int:
    """Entries that all streams were given so far."""
    client, added = streams.connect(redis, _CALL_SECONDS), 0
    try:
        for keys in streams.all_shards(streams.SHARDS_DEFAULT):
            if await client.exists(keys.events):
                added += (await client.xinfo_stream(keys.events))["entries-added"]
    finally:
        await client.aclose()
    return added
