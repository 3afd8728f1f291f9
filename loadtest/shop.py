"""The shop's side of the API: what its pages ask, over the client that front ends use, and what became of each call.

Choices: an answer that the API's contract does not promise is a failure, whatever gRPC says of it: a list without items
has the code EMPTY_LIST, and events have EVENT_<status> of the first that was not taken in, with the field at fault. So
a server that is quick because it does nothing does not pass.

Knows nothing of who visits and when; runs in threads as well as in greenlets.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import grpc
from aisle.v1 import event_service_pb2 as events
from aisle.v1.recommendation_service_pb2 import RankRequest, RankResponse, RecommendRequest, RecommendResponse

from services.client import RecommendationClient

OK = "OK"
EMPTY_LIST = "EMPTY_LIST"

Reply: TypeAlias = RecommendResponse | RankResponse | events.WriteEventsResponse
Record: TypeAlias = Callable[[str, str, float, float, float, str, Reply | None], None]
"""`record(method, journey, due, sent, done, code, reply)`, as `recording.CALLS` says what they are. There is a reply
unless the call itself failed."""

_R = TypeVar("_R", bound=Reply)


class Answer(NamedTuple, Generic[_R]):
    """What became of a call."""

    sent: float
    """Seconds since the run began; so is `done`."""
    done: float
    code: str
    """OK, or why not."""
    reply: _R | None
    """None where the call failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A shop's connections to Aisle, and who is told of its calls."""

    lists: RecommendationClient
    events: Any
    """The `EventServiceStub`; None: no events are written."""
    record: Record
    clock: Callable[[], float]
    """Seconds since the run began."""
    timeout_seconds: float = 0.5
    """Of a call, retries included."""

    def recommend(self, request: RecommendRequest) -> Answer[RecommendResponse]:
        """Ask for a list."""
        return self._timed(lambda: self.lists.recommend(request, timeout_seconds=self.timeout_seconds), _list_code)

    def rank(self, request: RankRequest) -> Answer[RankResponse]:
        """Have items ordered."""
        return self._timed(lambda: self.lists.rank(request, timeout_seconds=self.timeout_seconds), _list_code)

    def write(
        self, happened: Sequence[events.Event], repeated: Collection[str] = ()
    ) -> Answer[events.WriteEventsResponse]:
        """Write events, of which those with the ids `repeated` may have been written before."""
        request = events.WriteEventsRequest(events=happened)
        return self._timed(
            lambda: self.events.WriteEvents(request, timeout=self.timeout_seconds),
            lambda reply: _events_code(reply, len(happened), repeated),
        )

    def _timed(self, ask: Callable[[], _R], code_of: Callable[[_R], str]) -> Answer[_R]:
        sent = self.clock()
        try:
            reply = ask()
        except grpc.RpcError as error:
            return Answer(sent, self.clock(), error.code().name, None)
        return Answer(sent, self.clock(), code_of(reply), reply)


def unwritten(happened: Sequence[events.Event], answer: Answer[events.WriteEventsResponse]) -> list[events.Event]:
    """The events that the API says to send again: those of a failed call, and those that are UNAVAILABLE."""
    if answer.reply is None:
        return list(happened)
    return [
        event
        for event, result in zip(happened, answer.reply.results, strict=False)
        if result.status == events.EVENT_STATUS_UNAVAILABLE
    ]


def _list_code(reply: RecommendResponse | RankResponse) -> str:
    return OK if reply.results else EMPTY_LIST


def _events_code(reply: events.WriteEventsResponse, count: int, repeated: Collection[str]) -> str:
    for result in reply.results:
        if result.status == events.EVENT_STATUS_DUPLICATE and result.event_id in repeated:
            continue
        if result.status != events.EVENT_STATUS_ACCEPTED:
            name = events.EventStatus.Name(result.status).removeprefix("EVENT_STATUS_")
            return f"EVENT_{name} {result.field}".rstrip()
    return OK if len(reply.results) == count else f"EVENT_RESULTS {len(reply.results)} of {count}"
