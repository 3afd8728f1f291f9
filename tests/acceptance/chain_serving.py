"""Lines 3, 6 and 7: any client, bad input, and the ranking process itself."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import grpc
import polars as pl
import psutil
from aisle.v1 import recommendation_service_pb2 as messages
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from features.adapters import load
from features.bundle import serving_path
from services.client import RecommendationClient, field_violations
from services.ranking.app import SERVICE_NAME
from services.stack import Stack, StackConfig, running_stack
from tests.acceptance.rows import Row, at_most, holds

DATA = "complete-journey"
BUNDLES = Path("bundles")
_FOR_YOU = messages.PLACEMENT_RECOMMENDED_FOR_YOU


def any_client() -> list[Row]:
    """Line 3: a client that knows nothing but the address, through reflection; and health."""
    with (
        running_stack(StackConfig(data=DATA, ranking_port=0)) as stack,
        grpc.insecure_channel(stack.addresses["ranking"]) as channel,
    ):
        found = _recommend_by_reflection(channel)
        whole, service = _health(channel, ""), _health(channel, SERVICE_NAME)
        _kill(stack, "triton")
        _kill(stack, "valkey")
        degraded = _health(channel, SERVICE_NAME)
    return [
        holds("reflection_recommends_ten_items", value=found == 10),
        holds("health_serving", value=whole == service == "SERVING"),
        holds("health_serving_without_triton_and_valkey", value=degraded == "SERVING"),
    ]


def bad_input() -> list[Row]:
    """Line 6: what is wrong is named, nothing is lost, and the service goes on."""
    with (
        running_stack(StackConfig(data=DATA, ranking_port=0)) as stack,
        RecommendationClient(stack.addresses["ranking"], timeout_seconds=5.0) as client,
    ):
        known = load(DATA, Path("build/data")).events["user_id"][0]
        unknown = client.recommend(messages.RecommendRequest(placement=_FOR_YOU, user_id="nobody-we-know"))
        items = [result.item_id for result in unknown.results]
        ranked = client.rank(messages.RankRequest(user_id=known, item_ids=["no-such-item", *items]))
        too_long = _violation(client, messages.RecommendRequest(placement=_FOR_YOU, page_size=101))
        nowhere = _violation(client, messages.RecommendRequest(user_id=known))
        _kill(stack, "triton")
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


def ranking_process() -> list[Row]:
    """Line 7: size and start of the ranking process on the default bundle."""
    with running_stack(StackConfig(data=DATA, ranking_port=0)) as stack:
        process = psutil.Process(stack.processes["ranking"].pid)
        with RecommendationClient(stack.addresses["ranking"], timeout_seconds=5.0) as client:
            for user_id in load(DATA, Path("build/data")).users["user_id"].head(500):
                client.recommend(messages.RecommendRequest(placement=_FOR_YOU, user_id=user_id))
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        resident_mb = process.memory_info().rss / 1e6
        ready = _ready_seconds(stack)
    feast = _import_feast_seconds()
    return [
        holds("no_torch", value="libtorch" not in maps),
        at_most("resident_mb_after_500_calls", round(resident_mb, 1), 700.0),
        at_most("ready_seconds", round(ready, 2), 15.0),
        at_most("ready_seconds_beyond_import_feast", round(ready - feast, 2), 3.0),
    ]


def _recommend_by_reflection(channel: grpc.Channel) -> int:
    """Number of items a Recommend built from the server's own descriptors brings."""
    pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    method = pool.FindServiceByName(SERVICE_NAME).methods_by_name["Recommend"]
    request_type = message_factory.GetMessageClass(method.input_type)
    reply_type = message_factory.GetMessageClass(method.output_type)
    call = channel.unary_unary(
        f"/{SERVICE_NAME}/Recommend",
        request_serializer=request_type.SerializeToString,
        response_deserializer=reply_type.FromString,
    )
    reply = call(request_type(placement=1, user_id="1", page_size=10), timeout=5.0)
    return len(reply.results)


def _health(channel: grpc.Channel, service: str) -> str:
    reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=5.0)
    return health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)


def _kill(stack: Stack, name: str) -> None:
    """End a part of our own stack at once, and wait until it is gone."""
    process = psutil.Process(stack.processes[name].pid)
    family = [process, *process.children(recursive=True)]
    process.send_signal(signal.SIGKILL)
    psutil.wait_procs(family, timeout=10.0)


def _violation(client: RecommendationClient, request: messages.RecommendRequest) -> tuple[str, list[str]] | None:
    try:
        client.recommend(request)
    except grpc.RpcError as error:
        assert isinstance(error, grpc.Call)
        return error.code().name, sorted(field_violations(error))
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
        with _captured_log() as lines:
            data = load(f"parquet:{shop}", cache)
        rejects = "".join(path.read_text() for path in cache.rglob("*.rejects.jsonl"))
    named = any("events.parquet" in line and "row 1" in line and "event_type" in line for line in lines)
    return data.events["event_id"].to_list() == ["a", "c"] and '"bought' in rejects.replace("\\", "") and named


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


def _ready_seconds(stack: Stack) -> float:
    """From starting a second ranking process, back ends there, until its health says SERVING."""
    from services.common.process import ManagedProcess, free_port  # noqa: PLC0415

    port = free_port()
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "AISLE_REDIS": stack.addresses["valkey"],
        "AISLE_TRITON_ADDRESS": stack.addresses["triton"],
        "AISLE_RANKING_PORT": str(port),
    }
    started = time.monotonic()
    command = [sys.executable, "-m", "services.ranking"]
    with ManagedProcess(
        "ranking-2", command, log_path=Path("build/logs/ranking-2.log"), environment=environment
    ) as second:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            second.wait_ready(lambda: _is_serving(channel), 60.0)
        return time.monotonic() - started


def _is_serving(channel: grpc.Channel) -> bool:
    try:
        return _health(channel, SERVICE_NAME) == "SERVING"
    except grpc.RpcError:
        return False


def _import_feast_seconds() -> float:
    """From starting Python until Feast is imported, with torch kept out as in the ranking process; median of three."""
    code = (
        "from features.lean_imports import block; block('torch', 'transformers', 'sklearn', 'matplotlib'); import feast"
    )
    times = []
    for _ in range(3):
        started = time.monotonic()
        subprocess.run([sys.executable, "-c", code], check=True)
        times.append(time.monotonic() - started)
    return sorted(times)[1]
