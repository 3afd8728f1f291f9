"""The sides of the ranking comparisons: what runs, how a shopper is asked about, whom to ask."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import polars as pl
from aisle.v1 import recommendation_service_pb2 as messages

from benchmarks.merlin import MerlinClient, Shop
from features.bundle import serving_path
from features.offline import offline_folder
from features.vocab import Vocabulary
from services.client import RecommendationClient
from services.common.process import ManagedProcess, free_port
from services.stack import Stack, StackConfig, running_stack

LISTED = 20
CALL_SECONDS = 30.0
Ask = Callable[[str], list[str]]
"""Shopper → the ids of their list, best first."""
LEAST_SHARED = 0.95
_READY_SECONDS = 60.0
_PATIENT_MS = 5000
_BACK_ENDS = ("FEATURES", "INTEREST", "RETRIEVAL")


@contextmanager
def patient_stack(config: StackConfig) -> Iterator[Stack]:
    """The stack, whose ranking service waits for its back ends rather than answer without them: a poorer answer is no
    answer to the same question."""
    names = [f"AISLE_{name}_TIMEOUT_MS" for name in _BACK_ENDS]
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(_PATIENT_MS)))  # what the stack's processes inherit
    try:
        with running_stack(config) as stack:
            yield stack
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def recommended(client: RecommendationClient, user_id: str) -> list[str]:
    """Ids of the home page's list, of all items, sensitive ones too: the Merlin shape knows no such rule."""
    request = messages.RecommendRequest(
        placement=messages.PLACEMENT_RECOMMENDED_FOR_YOU,
        user_id=user_id,
        page_size=LISTED,
        filter=messages.Filter(allow_sensitive=True),
    )
    reply = client.recommend(request)
    if reply.degradations:
        raise ValueError(f"shopper {user_id}: a degraded reply cannot be compared: {list(reply.degradations)}")
    return [result.item_id for result in reply.results]


def merlin_asked(merlin: MerlinClient, model: str, vocabulary: Vocabulary) -> Ask:
    """Ask one of the Merlin shape's models."""
    return lambda user_id: vocabulary.names(merlin.recommend(model, user_id, LISTED)[0])


def shared(ours: Ask, theirs: Ask, shoppers: Sequence[str]) -> float:
    """Mean share of the listed items that both sides list, 0 to 1.

    Raises:
        ValueError: less than LEAST_SHARED: the sides answer different questions.
    """
    lists = [(ours(user), theirs(user)) for user in shoppers]
    share = float(np.mean([len(set(left) & set(right)) / max(len(left), len(right)) for left, right in lists]))
    if share < LEAST_SHARED:
        raise ValueError(f"the two sides' lists share {share:.1%} of their items only")
    return share


def shop_of(config: StackConfig, stack: Stack) -> Shop:
    """What a running stack serves."""
    return Shop(
        bundle=serving_path(config.bundles),
        feast_dir=config.build / "feast",
        offline_dir=config.build / "offline",
        redis=stack.addresses["valkey"],
    )


def shoppers_of(config: StackConfig, count: int) -> list[str]:
    """Shoppers with a history, drawn at random from what was materialised."""
    latest = max(offline_folder("user", config.build / "offline").glob("*.parquet"))
    table = pl.read_parquet(latest, columns=["user_id", "history_item_ids"])
    ids = table.filter(pl.col("history_item_ids").list.len() > 0)["user_id"]
    chosen: list[str] = ids.sample(min(count, ids.len()), seed=1, shuffle=True).to_list()
    return chosen


@contextmanager
def empty_server(build: Path) -> Iterator[str]:
    """The address of a server whose every answer is the same; its log lies in `build`."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.reference_servers", "empty", str(port)]
    with (
        ManagedProcess("empty", command, log_path=build / "logs" / "empty.log"),
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        grpc.channel_ready_future(channel).result(_READY_SECONDS)
        yield f"127.0.0.1:{port}"
