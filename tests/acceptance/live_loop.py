"""Line 7: the closed loop. Shoppers whom nobody knows begin with what is popular, act through the real API for several
rounds with a nightly run after each, and are shown more and more of what they like.

Choices: the shop's earlier shoppers bought by popularity alone, so that the first bundle knows no taste. A round is a
week of the shop's time with several visits of everybody; the last one ends now, so that no event lies ahead of the
clock. A night learns from what is a week old or older, so that what a round teaches serves two rounds later at the
earliest; a ranker that orders by taste needs shoppers who were known before its label windows, which takes more rounds.
That the hit rate rises is said of thirds of the rounds: before a bundle knows a taste, single rounds go up and down by
chance.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import numpy as np
import polars as pl
from aisle.v1 import event_service_pb2 as events
from aisle.v1.event_service_pb2_grpc import EventServiceStub

from features import event_log
from features.synthetic import SyntheticConfig, SyntheticShop, generate
from services.client import RecommendationClient
from services.stack import Stack, StackConfig, running_stack
from tests.acceptance.live_nights import Nights
from tests.acceptance.rows import Row, at_least, holds, told
from tests.simulated_shoppers import Shoppers
from tests.waiting import wait_until

_WEEK = timedelta(weeks=1)
_EARLIER_WEEKS = 8
_EXPLORATION = 0.2
_EVENTS_A_CALL = 500
_LOG_SECONDS = 120.0
_SWAP_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is simulated."""

    rounds: int = 9
    visits: int = 4
    """Of every shopper in a round."""
    shoppers: int = 240
    earlier_shoppers: int = 80
    items: int = 600
    seed: int = 11


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    hit_rates: list[float]
    """Of each round's lists, 0 to 1."""
    shown_share: float
    """Of the catalogue."""
    promoted: list[int]
    """Rounds, from 1, after which another bundle served."""


def closed_loop() -> list[Row]:
    """The line at full size."""
    with tempfile.TemporaryDirectory(prefix="aisle-loop-") as folder:
        outcome = simulate(Plan(), Path(folder), Path(os.environ.get("AISLE_TRITON_VENV", ".venv-triton")))
    return [
        told("hit_rates_by_round", ", ".join(f"{rate:.3f}" for rate in outcome.hit_rates)),
        told("rounds_after_which_a_bundle_was_promoted", ", ".join(map(str, outcome.promoted))),
        holds("hit_rate_rises_over_the_rounds", value=rises(outcome.hit_rates)),
        at_least("last_hit_rate_over_first", outcome.hit_rates[-1] / outcome.hit_rates[0], 2.0),
        at_least("share_of_items_shown", outcome.shown_share, 0.5),
    ]


def rises(hit_rates: Sequence[float]) -> bool:
    """Whether each third of the rounds has a higher mean than the one before."""
    first, second, third = (float(np.mean(part)) for part in np.array_split(np.asarray(hit_rates), 3))
    return first < second < third


def simulate(plan: Plan, folder: Path, triton_venv: Path) -> Outcome:
    """The shop from its first bundle to the end of the last round, in a folder of its own."""
    shop = generate(
        SyntheticConfig(
            user_count=plan.earlier_shoppers,
            item_count=plan.items,
            weeks=_EARLIER_WEEKS,
            new_item_count=0,
            staple_count=0,
            taste_share=0.0,
            stray_factor=1.0,
            seed=plan.seed,
        )
    )
    end = datetime.now(UTC).replace(microsecond=0)
    tastes = sorted(set(shop.item_tastes.values()))
    shoppers = Shoppers(
        tastes={f"shopper-{number}": tastes[number % len(tastes)] for number in range(plan.shoppers)},
        item_tastes=shop.item_tastes,
        rng=np.random.default_rng(plan.seed),
    )
    begin = end - plan.rounds * _WEEK
    nights = Nights(folder, _earlier(shop, folder / "shop", begin), begin)
    nights.first_bundle()
    config = StackConfig(
        data=nights.data,
        bundles=nights.bundles,
        build=folder,
        triton_venv=triton_venv,
        ranking_port=0,
        clock="wall",
    )
    with _parts_written_often(), running_stack(config) as stack:
        return _rounds(plan, shoppers, nights, stack, end)


def _earlier(shop: SyntheticShop, folder: Path, end: datetime) -> str:
    """The earlier shoppers' tables, their last week ending at `end`; as a data spec."""
    folder.mkdir(parents=True)
    shift = end - shop.dataset.calendar.week_end(_EARLIER_WEEKS)
    shop.dataset.events.with_columns(pl.col("event_time") + shift).write_parquet(folder / "events.parquet")
    shop.dataset.items.write_parquet(folder / "items.parquet")
    return f"parquet:{folder}"


def _rounds(plan: Plan, shoppers: Shoppers, nights: Nights, stack: Stack, end: datetime) -> Outcome:
    """All rounds, each with its night; says how each went."""
    hit_rates, promoted, written = [], [], 0
    visit_length = 0.9 * _WEEK / plan.visits
    for number in range(1, plan.rounds + 1):
        begin, rates = end - (plan.rounds - number + 1) * _WEEK, []
        for visit in range(plan.visits):
            rate, count = _visit(shoppers, stack, begin + visit * visit_length, visit_length)
            rates.append(rate)
            written += count
            wait_until(lambda: _logged(nights.live) >= written, _LOG_SECONDS)  # noqa: B023 - called before it changes
        hit_rates.append(float(np.mean(rates)))
        visits = ", ".join(f"{rate:.3f}" for rate in rates)
        print(f"round {number}: hit rate {hit_rates[-1]:.3f} ({visits}), {written} events", flush=True)
        if 1 < number < plan.rounds:  # the first night would know no more than the first bundle
            is_better = nights.run(stack.addresses["valkey"])
            said = f"{nights.serving} serves" if is_better else "refused: " + "; ".join(nights.reasons())
            print(f"night {number}: {said}", flush=True)
            _wait_until_served(shoppers, stack, nights.serving)
            promoted += [number] * is_better
    return Outcome(hit_rates, len(shoppers.shown) / plan.items, promoted)


def _visit(shoppers: Shoppers, stack: Stack, begin: datetime, length: timedelta) -> tuple[float, int]:
    """Every shopper looks at one list and acts on it: the mean hit rate, and the count of events written."""
    rates: list[float] = []
    happened: list[events.Event] = []
    with RecommendationClient(stack.addresses["ranking"], timeout_seconds=5.0) as client:
        for user_id in shoppers.tastes:
            reply = client.recommend(shoppers.question(user_id, _EXPLORATION))
            rates.append(shoppers.hit_rate(user_id, reply))
            moment = begin + length * float(shoppers.rng.uniform(0.0, 0.9))
            happened.extend(shoppers.act(user_id, reply, moment))
    _write(happened, stack.addresses["ingest"])
    return float(np.mean(rates)), len(happened)


def _wait_until_served(shoppers: Shoppers, stack: Stack, version: str) -> None:
    question = shoppers.question(next(iter(shoppers.tastes)), 0.0)
    with RecommendationClient(stack.addresses["ranking"], timeout_seconds=5.0) as client:
        wait_until(lambda: client.recommend(question).bundle_version == version, _SWAP_SECONDS)


def _write(happened: Sequence[events.Event], address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        for start in range(0, len(happened), _EVENTS_A_CALL):
            batch = happened[start : start + _EVENTS_A_CALL]
            reply = EventServiceStub(channel).WriteEvents(events.WriteEventsRequest(events=batch), timeout=10.0)
            if reply.accepted_count != len(batch):
                raise AssertionError(f"{len(batch) - reply.accepted_count} of {len(batch)} events were not accepted")


def _logged(live: Path) -> int:
    return int(event_log.scan(live).select(pl.len()).collect().item())


@contextmanager
def _parts_written_often() -> Iterator[None]:
    """What the updater reads: the night must not wait for half a minute for the round's events."""
    os.environ["AISLE_LOG_SECONDS"] = "1"
    try:
        yield
    finally:
        del os.environ["AISLE_LOG_SECONDS"]
