"""What a visit of a plan is: one shopper's calls. Knows neither Locust nor gevent."""

from collections.abc import Callable
from typing import Any, TypeAlias

import grpc
import numpy as np
from aisle.v1 import recommendation_service_pb2 as messages

from loadtest.plan import Plan
from services.client import RecommendationClient

Record: TypeAlias = Callable[[str, str, float, float, float, str, Any], None]
"""(method, journey, due, sent, done, code, reply or None) of a call that has ended."""

Visit: TypeAlias = Callable[[np.random.Generator, float, Callable[[], float]], None]
"""One visit, drawn from a generator and due at a time; `pause()` thinks and says when the next page is due."""

_SHOPPERS = 2500


class UnreachableError(Exception):
    """The ranking service does not answer."""


def open_shop(plan: Plan, record: Record, clock: Callable[[], float]) -> Visit:
    """Connect, and say what a visit does.

    Args:
        plan: what is visited.
        record: is told of every call.
        clock: seconds since the run began.

    Raises:
        UnreachableError: nobody answers there; names the address.
    """
    client = RecommendationClient(plan.ranking, timeout_seconds=plan.timeout_seconds)
    _knock(client, plan.ranking)

    def home(rng: np.random.Generator, due: float, pause: Callable[[], float]) -> None:  # noqa: ARG001
        request = messages.RecommendRequest(
            placement=messages.PLACEMENT_RECOMMENDED_FOR_YOU, user_id=str(rng.integers(1, _SHOPPERS)), page_size=20
        )
        sent, code, reply = clock(), "OK", None
        try:
            reply = client.recommend(request)
        except grpc.RpcError as error:
            code = error.code().name
        record("Recommend/HOME", "home", due, sent, clock(), code, reply)

    return home


def _knock(client: RecommendationClient, address: str) -> None:
    """Have the connection made before the first visit, which would wait for it."""
    request = messages.RecommendRequest(placement=messages.PLACEMENT_RECOMMENDED_FOR_YOU, validate_only=True)
    try:
        client.recommend(request, timeout_seconds=5.0)
    except grpc.RpcError as error:
        code = error.code()
        if code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
            raise UnreachableError(f"{address}: {code.name}: {error.details()}") from error
