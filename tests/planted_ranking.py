"""`python -m tests.planted_ranking slow|errors AMOUNT`: the ranking service with a fault that a gate must find.

slow: the ranker takes so many seconds longer, in which the process does nothing else. errors: that share of the calls
is INTERNAL.
All else is the service itself; what it is and what it is asked come from its own environment.
"""

import runpy
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from features.lean_imports import block

block("torch", "transformers", "sklearn", "matplotlib")  # as the service does

import grpc  # noqa: E402
import grpc.aio  # noqa: E402

from services.common import security, server  # noqa: E402
from services.ranking.ordering.ranker import Ranker  # noqa: E402

_SERVICE = "/aisle.v1.RecommendationService/"


def slow_down(seconds: float) -> None:
    """Every scoring of the ranker comes later."""
    score = Ranker.score

    def late(self: Ranker, matrix: Any) -> Any:
        time.sleep(seconds)  # holds the event loop, as computing does
        return score(self, matrix)

    Ranker.score = late  # type: ignore[method-assign]


class _Failing(grpc.aio.ServerInterceptor):  # type: ignore[type-arg] # generic in the stubs only
    """Fails some of the service's calls, evenly spread; those of health and reflection not."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._due = 0.0

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        if not handler_call_details.method.startswith(_SERVICE):
            return handler
        self._due += self._share
        if self._due < 1.0:
            return handler
        self._due -= 1.0

        async def fail(_request: Any, context: Any) -> None:
            await context.abort(grpc.StatusCode.INTERNAL, "planted")

        return grpc.unary_unary_rpc_method_handler(
            fail, request_deserializer=handler.request_deserializer, response_serializer=handler.response_serializer
        )


def plant_errors(share: float) -> None:
    """The service's servers fail some calls."""
    good = security.guards
    server.guards = lambda settings: [*good(settings), _Failing(share)]  # type: ignore[attr-defined] # where it is called


PLANTS = {"slow": slow_down, "errors": plant_errors}

if __name__ == "__main__":
    amount = float(sys.argv.pop())
    PLANTS[sys.argv.pop()](amount)
    runpy.run_module("services.ranking", run_name="__main__")
