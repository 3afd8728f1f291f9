"""The EventService: each event checked, written, answered. Errors become statuses in services.common.errors."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import grpc
import grpc.aio
from aisle.v1 import event_service_pb2 as messages
from aisle.v1 import event_service_pb2_grpc as stubs

from services.common.errors import InvalidField, NotServed
from services.common.limits import DEFAULT_TENANT, ID_CHARACTERS_MAX
from services.common.server import Register
from services.ingest.checks import check_event
from services.ingest.decode import Batch, Fault, decode
from services.ingest.metrics import UNREADABLE, IngestMetrics
from services.ingest.writing import EventWriter

SERVICE_NAME: str = messages.DESCRIPTOR.services_by_name["EventService"].full_name

Known: TypeAlias = Callable[[str], bool]
"""Whether the catalogue has an item of that id."""

_Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class Privacy(Protocol):
    """What a shopper may ask for."""

    async def purge_user(self, request: messages.PurgeUserRequest) -> messages.PurgeUserResponse:
        """Removes a shopper from every store."""

    async def export_user(self, request: messages.ExportUserRequest) -> messages.ExportUserResponse:
        """A page of what is stored."""

    async def set_opt_out(self, request: messages.SetOptOutRequest) -> messages.SetOptOutResponse:
        """Leaves a shopper out, or in again."""


class _Outcome(NamedTuple):
    kind: int
    """The event's type."""
    result: messages.EventResult


class EventServicer(stubs.EventServiceServicer):
    """Takes in events, and what shoppers ask about theirs."""

    def __init__(
        self,
        writer: EventWriter,
        known: Known,
        now_us: Callable[[], int],
        metrics: IngestMetrics,
        privacy: Privacy | None = None,
    ) -> None:
        """Args:
        writer: Where valid events go.
        known: Asked for the items of accepted events, which are kept either way.
        now_us: The serving clock, microseconds since 1970.
        metrics: Is told what became of events.
        privacy: Without it, its methods are not served.
        """
        self._writer = writer
        self._known = known
        self._now_us = now_us
        self._metrics = metrics
        self._privacy = privacy

    async def WriteEvents(  # noqa: N802 - the rpc's name; its request comes from `decode`
        self,
        request: Batch,
        context: _Context,  # noqa: ARG002
    ) -> messages.WriteEventsResponse:
        """Writes a batch, each event with a status of its own.

        Raises:
            InvalidField: there is no event, or the tenant's name is too long.
            NotServed: another tenant than the default one.
        """
        if len(request.tenant) > ID_CHARACTERS_MAX:
            raise InvalidField("tenant", f"must have at most {ID_CHARACTERS_MAX} characters, has {len(request.tenant)}")
        if request.tenant not in ("", DEFAULT_TENANT):
            raise NotServed("tenant")
        if not request.events:
            raise InvalidField("events", "is required")
        now_us = self._now_us()
        outcomes = [_checked(event, now_us) for event in request.events]
        await self._write(request, outcomes)
        self._metrics.count((kind, result.status) for kind, result in outcomes)
        results = [result for _, result in outcomes]
        accepted = 0 if request.validate_only else sum(map(_is_accepted, results))
        return messages.WriteEventsResponse(results=results, accepted_count=accepted)

    async def PurgeUser(  # noqa: N802 - the rpc's name
        self,
        request: messages.PurgeUserRequest,
        context: _Context,  # noqa: ARG002
    ) -> messages.PurgeUserResponse:
        """Removes a shopper from every store. Raises: NotServed: by this server."""
        return await self._private("PurgeUser").purge_user(request)

    async def ExportUser(  # noqa: N802 - the rpc's name
        self,
        request: messages.ExportUserRequest,
        context: _Context,  # noqa: ARG002
    ) -> messages.ExportUserResponse:
        """Hands out what is stored about a shopper. Raises: NotServed: by this server."""
        return await self._private("ExportUser").export_user(request)

    async def SetOptOut(  # noqa: N802 - the rpc's name
        self,
        request: messages.SetOptOutRequest,
        context: _Context,  # noqa: ARG002
    ) -> messages.SetOptOutResponse:
        """Leaves a shopper out, or in again. Raises: NotServed: by this server."""
        return await self._private("SetOptOut").set_opt_out(request)

    def _private(self, method: str) -> Privacy:
        if self._privacy is None:
            raise NotServed(method)
        return self._privacy

    async def _write(self, batch: Batch, outcomes: Sequence[_Outcome]) -> None:
        """Writes the events without a fault, and fills in what became of them."""
        valid, results = [], []
        for event, outcome in zip(batch.events, outcomes, strict=True):
            if isinstance(event, messages.Event) and not outcome.result.status:
                valid.append(event)
                results.append(outcome.result)
        statuses = await self._writer.write(valid, dry_run=batch.validate_only)
        for event, result, status in zip(valid, results, statuses, strict=True):
            result.status = status
            if _is_accepted(result):
                self._name_unknown(event, result)

    def _name_unknown(self, event: messages.Event, result: messages.EventResult) -> None:
        if event.item_id and not self._known(event.item_id):
            result.field, result.description = "item_id", "the catalogue does not know it yet"
            return
        unknown = [item_id for item_id in event.impression_item_ids if not self._known(item_id)]
        if unknown:
            result.field = "impression_item_ids"
            result.description = f"the catalogue does not know {len(unknown)} of them yet, the first is {unknown[0]!r}"


def registration(servicer: EventServicer) -> Register:
    """What a server needs to offer the service."""
    method = grpc.unary_unary_rpc_method_handler(
        servicer.WriteEvents,
        request_deserializer=decode,
        response_serializer=messages.WriteEventsResponse.SerializeToString,
    )

    def register(server: grpc.aio.Server) -> list[str]:
        # Before the generated one: the first handler that knows a method answers it.
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE_NAME, {"WriteEvents": method}),))
        stubs.add_EventServiceServicer_to_server(servicer, server)
        return [SERVICE_NAME]

    return register


def _checked(event: messages.Event | Fault, now_us: int) -> _Outcome:
    """What became of an event so far: its status is set where it has a fault."""
    if isinstance(event, Fault):
        return _Outcome(UNREADABLE, _invalid(event.event_id, event.field, event.description))
    try:
        check_event(event, now_us)
    except InvalidField as error:
        return _Outcome(event.event_type, _invalid(event.event_id, error.field, error.description))
    return _Outcome(event.event_type, messages.EventResult(event_id=event.event_id))


def _invalid(event_id: str, field: str, description: str) -> messages.EventResult:
    # An id of megabytes would make the reply one that clients refuse to read.
    return messages.EventResult(
        event_id=event_id[:ID_CHARACTERS_MAX],
        status=messages.EVENT_STATUS_INVALID,
        field=field,
        description=description,
    )


def _is_accepted(result: messages.EventResult) -> bool:
    return result.status == messages.EVENT_STATUS_ACCEPTED
