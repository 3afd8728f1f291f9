"""Line 6: what is wrong is named, nothing is lost, and the service goes on."""

import contextlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import grpc
import polars as pl
from aisle.v1 import recommendation_service_pb2 as messages

from features.adapters import load
from features.bundle import serving_path
from services.client import RecommendationClient, field_violations
from services.stack import StackConfig, running_stack
from tests.acceptance.chain_serving import DATA, kill
from tests.acceptance.rows import Row, holds

BUNDLES = Path("bundles")
_FOR_YOU = messages.PLACEMENT_RECOMMENDED_FOR_YOU


def bad_input() -> list[Row]:
    """Line 6."""
    with (
        running_stack(StackConfig(data=DATA, ranking_port=0, live=False)) as stack,
        RecommendationClient(stack.addresses["ranking"], timeout_seconds=5.0) as client,
    ):
        known = load(DATA, Path("build/data")).events["user_id"][0]
        unknown = client.recommend(messages.RecommendRequest(placement=_FOR_YOU, user_id="nobody-we-know"))
        items = [result.item_id for result in unknown.results]
        ranked = client.rank(messages.RankRequest(user_id=known, item_ids=["no-such-item", *items]))
        too_long = _violation(client, messages.RecommendRequest(placement=_FOR_YOU, page_size=101))
        nowhere = _violation(client, messages.RecommendRequest(user_id=known))
        kill(stack, "triton")
        without = client.recommend(messages.RecommendRequest(placement=_FOR_YOU, user_id=known))
    popular = {result.source for result in unknown.results} == {messages.CANDIDATE_SOURCE_POPULAR}
    return [
        holds("unknown_shopper_gets_popular_items", value=popular and len(items) == 20),
        holds(
            "unknown_id_ranks_last", value=ranked.results[-1].item_id == "no-such-item" and len(ranked.results) == 21
        ),
        holds("unknown_id_is_missing", value=list(ranked.missing_ids) == ["no-such-item"]),
        holds("page_size_over_limit_is_named", value=too_long == ("INVALID_ARGUMENT", ["page_size"])),
        holds("missing_placement_is_named", value=nowhere == ("INVALID_ARGUMENT", ["placement"])),
        holds(
            "without_triton_replies_continue_and_say_so",
            value=len(without.results) == 20 and messages.DEGRADATION_INTEREST_FALLBACK in without.degradations,
        ),
        holds("malformed_event_file_is_named", value=_malformed_events()),
        holds("flipped_byte_is_refused_by_name", value=_flipped_byte()),
    ]


def _violation(client: RecommendationClient, request: messages.RecommendRequest) -> tuple[str, list[str]] | None:
    try:
        client.recommend(request)
    except grpc.RpcError as error:
        return str(error.code().name), sorted(field_violations(error))
    return None


def _malformed_events() -> bool:
    """Whether a shop's file with one bad row keeps the good ones, and names file, row and column of the bad one."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    events = pl.DataFrame(
        {
            "event_id": ["a", "b", "c"],
            "user_id": ["u1", "u2", "u3"],
            "item_id": ["tea", "tea", "tea"],
            "event_type": ["purchase", "bought", "click"],
            "event_time": [now, now, now],
        }
    )
    with tempfile.TemporaryDirectory() as name:
        shop, cache = Path(name) / "shop", Path(name) / "cache"
        shop.mkdir()
        events.write_parquet(shop / "events.parquet")
        pl.DataFrame({"item_id": ["tea"], "title": ["Green tea"]}).write_parquet(shop / "items.parquet")
        with _log_lines() as lines:
            data = load(f"parquet:{shop}", cache)
        rejected = [json.loads(line) for path in cache.rglob("*.jsonl") for line in path.read_text().splitlines()]
    named = any("events.parquet" in line and "row 1" in line and "event_type" in line for line in lines)
    kept = data.events["event_id"].to_list() == ["a", "c"]
    return named and kept and [(row["row"], row["column"]) for row in rejected] == [(1, "event_type")]


@contextlib.contextmanager
def _log_lines() -> Iterator[list[str]]:
    """What features logs meanwhile."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("features")
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)


def _flipped_byte() -> bool:
    """Whether a ranking process refuses a bundle with one flipped byte and names the file."""
    with tempfile.TemporaryDirectory() as name:
        root = serving_path(BUNDLES)
        copy = Path(name) / root.name
        shutil.copytree(root, copy)
        (Path(name) / "serving").write_text(root.name)
        victim = copy / "item_vectors.npy"
        content = bytearray(victim.read_bytes())
        content[len(content) // 2] ^= 1
        victim.write_bytes(content)
        run = subprocess.run(
            [sys.executable, "-m", "services.ranking"],
            env={**os.environ, "AISLE_BUNDLES": name},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    return run.returncode != 0 and str(victim) in run.stderr
