"""Line 9: whatever bytes arrive, the ranking process answers with a documented status and stays as large as
it was.

The process is `python -m services.ranking` over the tiny shop, with its own Valkey and Triton and an experiment
running, so that every path is alive, and with room for all calls in flight, so that none is refused unread. Memory is
compared from a fifth of the calls on, when caches and pools are full.
"""

import asyncio
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import polars as pl
import psutil
from aisle.v1 import recommendation_service_pb2 as messages
from grpc_health.v1 import health_pb2, health_pb2_grpc

from features import bundle as files
from services.common.process import ManagedProcess, free_port
from services.ranking.placements import SERVED_PLACEMENTS
from tests.acceptance.rows import Row, at_least, at_most, holds
from tests.integration.tiny_service import TinyShopOnDisk
from tests.raw_calls import DOCUMENTED, KINDS, REPLIES, Answer, Call, ask_all
from tests.request_corpus import continuations, corpus
from tests.request_strategies import Words

COUNT = 100_000
SEED = 9
IN_FLIGHT = 24
WARM_UP_SHARE = 0.2
CALLED_FOR = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
"""Of the documented statuses those that a caller may get who has time, while all back ends are there."""
VARIANTS = {"control": {"share": 50}, "varied": {"share": 50, "diversity": "HIGH"}}
EXPERIMENT = {"id": "variety", "variants": VARIANTS}
LOG = "ranking.log"
PAGED = "Recommend with a page token"
_LISTS_ASKED_FOR_TOKENS = 400
_READY_SECONDS = 60.0


class Tally:
    """What was answered."""

    def __init__(self) -> None:
        self.codes: Counter[str] = Counter()
        self.listed: Counter[str] = Counter()
        """Method and placement, and `PAGED`, to how often it brought a list."""
        self.degraded = 0
        self.strange: list[str] = []
        """What was answered with a status that is not documented, with the answer."""

    def hear(self, call: Call, answer: Answer) -> None:
        """Count one answer."""
        self.codes[answer.code.name] += 1
        if answer.code not in DOCUMENTED:
            self.strange.append(f"{answer.code.name} {answer.details!r} to {call.method} {call.payload.hex()}")
        if answer.code == grpc.StatusCode.OK:
            self._hear_list(call, answer.reply)

    def share(self, code: grpc.StatusCode) -> float:
        """Of all answers."""
        return self.codes[code.name] / self.codes.total()

    def _hear_list(self, call: Call, raw: bytes) -> None:
        request: Any = KINDS[call.method].FromString(call.payload)
        parts = list(request.requests) if isinstance(request, messages.BatchRecommendRequest) else [request]
        reply: Any = REPLIES[call.method].FromString(raw)
        replies = list(reply.responses) if isinstance(reply, messages.BatchRecommendResponse) else [reply]
        for part, answered in zip(parts, replies, strict=True):
            if answered.results:
                placement = part.placement or messages.PLACEMENT_SEARCH_RERANK  # Rank's default
                self.listed[f"{call.method} {messages.Placement.Name(placement)}"] += 1
                self.listed[PAGED] += call.method == "Recommend" and bool(part.page_token)
        self.degraded += any(answered.degradations for answered in replies)


def fuzz(count: int = COUNT) -> list[Row]:
    """Line 9."""
    triton_venv = Path(os.environ.get("AISLE_TRITON_VENV", ".venv-triton"))
    with tempfile.TemporaryDirectory() as folder:
        shop = TinyShopOnDisk(Path(folder))
        with shop.start_valkey(), shop.start_triton(triton_venv):
            shop.materialise()
            with _ranking(shop) as (process, address):
                rows = asyncio.run(_fuzzed(shop, process, address, count))
                rows.append(holds("still_runs", value=process.exit_status is None))
            unexpected = (shop.folder / LOG).read_text().count('"unexpected error"')
    return [*rows, at_most("unexpected_errors_logged", unexpected, 0)]


async def _fuzzed(shop: TinyShopOnDisk, process: ManagedProcess, address: str, count: int) -> list[Row]:
    items = pl.read_parquet(shop.bundle.path(files.ITEMS))
    words = Words.of_shop(items, shop.users["user_id"].to_list(), {"variety": list(VARIANTS)})
    calls = corpus(words, await continuations(address, words, _LISTS_ASKED_FOR_TOKENS, SEED), count, SEED)
    tally, memory_mb = Tally(), []
    warm_up = int(count * WARM_UP_SHARE)
    for part in (calls[:warm_up], calls[warm_up:]):
        await ask_all(address, part, tally.hear, IN_FLIGHT)
        memory_mb.append(psutil.Process(process.pid).memory_info().rss / 1e6)
    return [*_answer_rows(calls, tally), *_memory_rows(*memory_mb)]


def _answer_rows(calls: list[Call], tally: Tally) -> list[Row]:
    wanted = {f"Recommend {messages.Placement.Name(placement)}" for placement in SERVED_PLACEMENTS}
    wanted |= {f"Batch{name}" for name in wanted} | {"Rank PLACEMENT_SEARCH_RERANK", PAGED}
    without = sorted(name for name in wanted if not tally.listed[name])
    codes = tally.codes
    return [
        at_least("different_calls_sent", len({call.payload for call in calls}), len(calls)),
        at_least("calls_answered", codes.total(), len(calls)),
        Row("undocumented_answers", "; ".join(tally.strange[:3]) or "none", "none", not tally.strange),
        at_most("internal_or_unknown", codes["INTERNAL"] + codes["UNKNOWN"], 0),
        at_most("documented_but_not_called_for", sum(codes[code.name] for code in DOCUMENTED - CALLED_FOR), 0),
        at_least("share_ok", round(tally.share(grpc.StatusCode.OK), 3), 0.2),
        Row("placements_without_a_list", ", ".join(without) or "none", "none", not without),
        Row("share_degraded_of_ok", round(tally.degraded / max(codes["OK"], 1), 4), "told", True),
        *(Row(f"share_{name.lower()}", round(codes[name] / codes.total(), 4), "told", True) for name in sorted(codes)),
    ]


def _memory_rows(warm_mb: float, end_mb: float) -> list[Row]:
    return [
        Row("resident_mb_after_a_fifth", round(warm_mb, 1), "told", True),
        Row("resident_mb_at_the_end", round(end_mb, 1), "told", True),
        at_most("resident_growth_percent", round(100 * (end_mb / warm_mb - 1), 2), 5.0),
    ]


@contextmanager
def _ranking(shop: TinyShopOnDisk) -> Iterator[tuple[ManagedProcess, str]]:
    """A process of its own, serving, and its address."""
    experiments, port = shop.folder / "experiments.json", free_port()
    experiments.write_text(json.dumps([EXPERIMENT]))
    settings = shop.settings(experiments=experiments, ranking_port=port, queue_max=2 * IN_FLIGHT).model_dump(
        exclude_none=True
    )
    environment = {f"AISLE_{name.upper()}": str(value) for name, value in settings.items()}
    with ManagedProcess(
        "ranking",
        [sys.executable, "-m", "services.ranking"],
        log_path=shop.folder / LOG,
        environment=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    ) as process:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            process.wait_ready(lambda: _is_serving(channel), _READY_SECONDS)
        yield process, f"127.0.0.1:{port}"


def _is_serving(channel: grpc.Channel) -> bool:
    try:
        reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=1.0)
    except grpc.RpcError:
        return False
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)
