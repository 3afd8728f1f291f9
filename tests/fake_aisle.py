"""Aisle as a load test sees it, in memory: lists of made-up items, and events that are kept."""

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import grpc
import polars as pl
from aisle.v1 import event_service_pb2 as events
from aisle.v1 import recommendation_service_pb2 as messages

from loadtest.population import Population
from loadtest.shop import Reply, Shop
from services.client import RecommendationClient

ITEM_COUNT = 200
ITEMS = pl.DataFrame(
    {
        "item_id": [f"item-{number}" for number in range(ITEM_COUNT)],
        "title": [f"{('Brown', 'Blue')[number % 2]} cup no. {number}" for number in range(ITEM_COUNT)],
        "price": [None if number == 3 else 1.0 + number for number in range(ITEM_COUNT)],
    }
)
SHOPPERS = [f"shopper-{number}" for number in range(30)]


class Row(NamedTuple):
    """What `record` was told."""

    method: str
    journey: str
    due: float
    sent: float
    done: float
    code: str
    reply: Reply | None


class CallError(grpc.RpcError):
    """A call that failed."""

    def __init__(self, code: grpc.StatusCode) -> None:
        super().__init__(code)
        self._code = code

    def code(self) -> grpc.StatusCode:
        return self._code


class FakeAisle:
    """Both services and the clock; every call takes a tenth of a second."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rows: list[Row] = []
        self.requests: list[messages.RecommendRequest | messages.RankRequest] = []
        self.written: list[events.Event] = []
        """Accepted ones."""
        self.faults: dict[int, grpc.StatusCode | messages.RecommendResponse] = {}
        """Number of a request for a list, from 0, to what comes of it instead."""
        self.event_faults: dict[int, grpc.StatusCode | events.EventStatus] = {}
        """The same by number of a call with events."""
        self.lost_answers: set[int] = set()
        """Numbers of calls with events that are accepted, of which the caller never hears."""
        self.pages = 3
        """Of a list of the home page."""
        self.propensities: dict[int, float] = {}
        """Place in a list to the chance that the item there was drawn with."""
        self.viewed_after: float | None = 0.0
        """How long after it a click is in RECENTLY_VIEWED; None: for ever."""
        self._clicks: list[tuple[float, str, str]] = []
        self._event_calls = 0

    def shop(self, **changes: Any) -> Shop:
        """A shop in front of it."""
        known: dict[str, Any] = {"lists": cast(RecommendationClient, self), "events": self, "record": self._record}
        return Shop(**(known | {"clock": lambda: self.now} | changes))

    def sleep(self, seconds: float) -> None:
        """Let time go by."""
        self.now += seconds

    def codes(self, method: str) -> list[str]:
        """Of all calls of a method."""
        return [row.code for row in self.rows if row.method == method]

    def recommend(
        self,
        request: messages.RecommendRequest,
        *,
        timeout_seconds: float,  # noqa: ARG002 - as the client's
    ) -> messages.RecommendResponse:
        """So many items that are not in the context."""
        instead: messages.RecommendResponse | None = self._asked(request)
        if instead is not None:
            return instead
        page = int(request.page_token or 0)
        following = str(page + 1) if page + 1 < self.pages else ""
        if request.placement == messages.PLACEMENT_RECENTLY_VIEWED:
            return messages.RecommendResponse(results=[messages.RankedItem(item_id=i) for i in self._viewed(request)])
        may_be = [item for item in ITEMS["item_id"] if item not in request.context_item_ids]
        first = page * request.page_size
        return messages.RecommendResponse(
            results=[self._result(*found) for found in enumerate(may_be[first : first + request.page_size])],
            recommendation_id=f"list-{len(self.requests)}",
            next_page_token=following,
        )

    def rank(
        self,
        request: messages.RankRequest,
        *,
        timeout_seconds: float,  # noqa: ARG002 - as the client's
    ) -> messages.RankResponse:
        """The last first."""
        self._asked(request)
        results = [messages.RankedItem(item_id=item) for item in reversed(request.item_ids)]
        return messages.RankResponse(results=results, recommendation_id=f"list-{len(self.requests)}")

    def WriteEvents(  # noqa: N802 - the rpc's name
        self,
        request: events.WriteEventsRequest,
        timeout: float,  # noqa: ARG002 - as the stub's
    ) -> events.WriteEventsResponse:
        """Accepts every event once."""
        self.now += 0.1
        number, self._event_calls = self._event_calls, self._event_calls + 1
        fault = self.event_faults.get(number)
        if isinstance(fault, grpc.StatusCode):
            raise CallError(fault)
        reply = events.WriteEventsResponse(results=self._results(request, fault))
        if number in self.lost_answers:
            raise CallError(grpc.StatusCode.DEADLINE_EXCEEDED)
        return reply

    def _results(
        self, request: events.WriteEventsRequest, fault: "events.EventStatus | None"
    ) -> Iterator[events.EventResult]:
        known = {event.event_id for event in self.written}
        for event in request.events:
            status = fault or events.EVENT_STATUS_ACCEPTED
            if event.event_id in known:
                status = events.EVENT_STATUS_DUPLICATE
            elif status == events.EVENT_STATUS_ACCEPTED:
                self.written.append(event)
                self._clicks.append((self.now, event.user_id, event.item_id))
            field = "item_id" if status == events.EVENT_STATUS_INVALID else ""
            yield events.EventResult(event_id=event.event_id, status=status, field=field)

    def _asked(self, request: messages.RecommendRequest | messages.RankRequest) -> Any:
        self.now += 0.1
        self.requests.append(copy.deepcopy(request))
        fault = self.faults.get(len(self.requests) - 1)
        if isinstance(fault, grpc.StatusCode):
            raise CallError(fault)
        return fault

    def _viewed(self, request: messages.RecommendRequest) -> list[str]:
        after = self.viewed_after
        return [
            item
            for when, shopper, item in self._clicks
            if shopper == request.user_id and after is not None and when + after <= self.now
        ]

    def _result(self, place: int, item_id: str) -> messages.RankedItem:
        return messages.RankedItem(item_id=item_id, propensity=self.propensities.get(place))

    def _record(self, *told: Any) -> None:
        self.rows.append(Row(*told))


def population() -> Population:
    """Of SHOPPERS and ITEMS, in their order."""
    return Population.from_tables(SHOPPERS, ITEMS)
