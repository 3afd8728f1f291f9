"""One call as those see it who watch: metrics, the log of slow requests, traces.

Choices: they are told once, when the call is over, whether it was answered or not; before its reply leaves, so what
they do must take microseconds. Knows none of them.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from aisle.v1 import recommendation_service_pb2 as messages

from services.ranking.trace import Trace

_SERVICE = messages.DESCRIPTOR.services_by_name["RecommendationService"].full_name
RECOMMEND, RANK, BATCH_RECOMMEND = (f"/{_SERVICE}/{name}" for name in ("Recommend", "Rank", "BatchRecommend"))


class Part(NamedTuple):
    """A list that was asked for and what happened on the way to it."""

    request: messages.RecommendRequest | messages.RankRequest
    trace: Trace


@dataclass(slots=True)
class Call:
    """A call whose request was accepted."""

    method: str
    """Full name of the rpc."""
    parts: list[Part] = field(default_factory=list)
    """One, or for a batch those that were begun."""
    seconds: float = 0.0
    """How long it took."""
    failure: str = ""
    """Name of the exception that ended it; empty if it was answered."""

    def begin(self, request: messages.RecommendRequest | messages.RankRequest, trace: Trace) -> Trace:
        """Take up one of its lists."""
        self.parts.append(Part(request, trace))
        return trace


class Observer(Protocol):
    """Who is told of calls."""

    def observe(self, call: Call) -> None:
        """A call is over."""


class Observers:
    """Several observers as one."""

    def __init__(self, *observers: Observer) -> None:
        """They are told in this order."""
        self._observers = observers

    def observe(self, call: Call) -> None:
        """See `Observer.observe`."""
        for observer in self._observers:
            observer.observe(call)


@contextmanager
def observed(observer: Observer, method: str) -> Iterator[Call]:
    """Around the work on a call, of which the observer is told on leaving."""
    call, started = Call(method), time.perf_counter()
    try:
        yield call
    except BaseException as error:
        call.failure = type(error).__name__
        raise
    finally:
        call.seconds = time.perf_counter() - started
        observer.observe(call)
