"""The shop's side of the API: what its pages ask, over the client that front ends use, and what became of each call.

Choices:
- An answer that the API's contract does not promise is a failure, whatever gRPC says of it: a list without items has
  the code EMPTY_LIST, and events have EVENT_<status> of the first that was refused, with the field at fault. So a
  server that is quick because it does nothing does not pass.
- Events are sent again where that is harmless and may help: where the API says so (UNAVAILABLE, of the call or of an
  event), and where no answer came in time. Such a call is DEFERRED, unless something in it was refused for good.

Knows nothing of who visits and when; runs in threads as well as in greenlets.
"""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import grpc
from aisle.v1 import event_service_pb2 as events
from aisle.v1.recommendation_service_pb2 import RankRequest, RankResponse, RecommendRequest, RecommendResponse

from loadtest.recording import DEFERRED, OK
from services.client import RecommendationClient

EMPTY_LIST = "EMPTY_LIST"
_AGAIN = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
"""After these events are sent again."""

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
    """OK, DEFERRED, or why not."""
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
    outbox: deque[events.Event] = field(default_factory=deque)
    """Events to be sent again that no visit carries any more, the oldest first."""

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
            _AGAIN,
        )

    def _timed(
        self, ask: Callable[[], _R], code_of: Callable[[_R], str], again: Collection[grpc.StatusCode] = ()
    ) -> Answer[_R]:
        sent = self.clock()
        try:
            reply = ask()
        except grpc.RpcError as error:
            code = DEFERRED if error.code() in again else error.code().name
            return Answer(sent, self.clock(), code, None)
        return Answer(sent, self.clock(), code_of(reply), reply)


def unwritten(happened: Sequence[events.Event], answer: Answer[events.WriteEventsResponse]) -> list[events.Event]:
    """Which of the events to send again: all those of a deferred call without a reply, else those that are
    UNAVAILABLE."""
    if answer.reply is None:
        return list(happened) if answer.code == DEFERRED else []
    return [
        event
        for event, result in zip(happened, answer.reply.results, strict=False)
        if result.status == events.EVENT_STATUS_UNAVAILABLE
    ]


def _list_code(reply: RecommendResponse | RankResponse) -> str:
    return OK if reply.results else EMPTY_LIST


def _events_code(reply: events.WriteEventsResponse, count: int, repeated: Collection[str]) -> str:
    code = OK
    for result in reply.results:
        if result.status == events.EVENT_STATUS_DUPLICATE and result.event_id in repeated:
            continue
        if result.status == events.EVENT_STATUS_UNAVAILABLE:
            code = DEFERRED
        elif result.status != events.EVENT_STATUS_ACCEPTED:
            name = events.EventStatus.Name(result.status).removeprefix("EVENT_STATUS_")
            return f"EVENT_{name} {result.field}".rstrip()
    return code if len(reply.results) == count else f"EVENT_RESULTS {len(reply.results)} of {count}"
