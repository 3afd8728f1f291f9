"""Calls that greenlets make: one at the server holds up nobody else, in a process whose threads are as they were."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gevent
import grpc
import pytest
from aisle.v1 import recommendation_service_pb2 as messages
from aisle.v1 import recommendation_service_pb2_grpc as stubs

from loadtest.green import GreenClient

SECONDS = 10.0
PATIENT, QUICK, WRONG = "patient", "quick", "wrong"


class Server(stubs.RecommendationServiceServicer):
    """Answers the patient one only once the quick one has come."""

    def __init__(self) -> None:
        self.came, self.asked, self.over = threading.Event(), threading.Event(), threading.Event()

    def Recommend(self, request: messages.RecommendRequest, context: Any) -> messages.RecommendResponse:  # noqa: N802 - the rpc's name
        context.add_callback(self.over.set)
        if request.user_id == WRONG:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "user_id: wrong")
        if request.user_id == PATIENT:
            self.asked.set()
            self.came.wait(SECONDS)
        else:
            self.came.set()
        return messages.RecommendResponse(recommendation_id=request.user_id)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def client(server: Server) -> Iterator[GreenClient]:
    grpc_server = grpc.server(ThreadPoolExecutor(2))
    stubs.add_RecommendationServiceServicer_to_server(server, grpc_server)
    port = grpc_server.add_insecure_port("127.0.0.1:0")
    grpc_server.start()
    with GreenClient(f"127.0.0.1:{port}", timeout_seconds=SECONDS) as client:
        yield client
    server.came.set()
    grpc_server.stop(None).wait()


def asked(client: GreenClient, user_id: str) -> str:
    return client.recommend(messages.RecommendRequest(user_id=user_id)).recommendation_id


def test_a_call_holds_up_only_the_greenlet_that_makes_it(client: GreenClient) -> None:
    patient, quick = gevent.spawn(asked, client, PATIENT), gevent.spawn(asked, client, QUICK)
    assert quick.get() == QUICK
    assert patient.get() == PATIENT


def test_a_refusal_is_raised_as_it_is_by_other_clients(client: GreenClient) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        asked(client, WRONG)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert raised.value.details() == "user_id: wrong"


def test_the_call_of_whoever_is_thrown_out_is_cancelled(client: GreenClient, server: Server) -> None:
    patient = gevent.spawn(asked, client, PATIENT)
    gevent.sleep(0)  # the call is made
    assert server.asked.wait(SECONDS)
    patient.kill()
    assert server.over.wait(SECONDS)
    assert not server.came.is_set(), "it has been answered"
