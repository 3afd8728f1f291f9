"""Lines 3 and 7: any client, and the ranking process itself."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import grpc
import psutil
from aisle.v1 import recommendation_service_pb2 as messages
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from features.adapters import load
from services.client import RecommendationClient
from services.common.process import ManagedProcess, free_port
from services.ranking.app import SERVICE_NAME
from services.stack import Stack, StackConfig, running_stack
from tests.acceptance.rows import Row, at_most, holds

DATA = "complete-journey"
_FOR_YOU = messages.PLACEMENT_RECOMMENDED_FOR_YOU


def any_client() -> list[Row]:
    """Line 3: a client that knows nothing but the address, through reflection; and health."""
    with (
        running_stack(StackConfig(data=DATA, ranking_port=0, live=False)) as stack,
        grpc.insecure_channel(stack.addresses["ranking"]) as channel,
    ):
        found = _recommend_by_reflection(channel)
        whole, service = _health(channel, ""), _health(channel, SERVICE_NAME)
        kill(stack, "triton")
        kill(stack, "valkey")
        degraded = _health(channel, SERVICE_NAME)
    return [
        holds("reflection_recommends_ten_items", value=found == 10),
        holds("health_serving", value=whole == service == "SERVING"),
        holds("health_serving_without_triton_and_valkey", value=degraded == "SERVING"),
    ]


def ranking_process() -> list[Row]:
    """Line 7: size and start of the ranking process on the default bundle."""
    with running_stack(StackConfig(data=DATA, ranking_port=0, live=False)) as stack:
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
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status))


def kill(stack: Stack, name: str) -> None:
    """End a part of our own stack at once, and wait until it is gone."""
    process = psutil.Process(stack.processes[name].pid)
    family = [process, *process.children(recursive=True)]
    process.send_signal(signal.SIGKILL)
    psutil.wait_procs(family, timeout=10.0)


def _ready_seconds(stack: Stack) -> float:
    """From starting a second ranking process, back ends there, until its health says SERVING."""
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
