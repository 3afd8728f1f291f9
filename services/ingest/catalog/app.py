"""The CatalogService: each item checked, judged, stored, answered. Errors become statuses in services.common.errors."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import grpc.aio
from aisle.v1 import catalog_service_pb2 as messages
from aisle.v1 import catalog_service_pb2_grpc as stubs

from features.live_items import LiveItem
from services.common.server import Register
from services.ingest.catalog.changing import Changing
from services.ingest.catalog.checks import Checked, check_request, checked, checked_ids, invalid
from services.ingest.catalog.flags import TextClassifier
from services.ingest.catalog.metrics import CatalogMetrics

SERVICE_NAME: str = messages.DESCRIPTOR.services_by_name["CatalogService"].full_name

_Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class CatalogServicer(stubs.CatalogServiceServicer):
    """Takes in what changes in the catalogue."""

    def __init__(self, changing: Changing, classifier: TextClassifier, metrics: CatalogMetrics) -> None:
        """Args: changing: stores it; classifier: judges texts; metrics: is told what became of items."""
        self._changing = changing
        self._classifier = classifier
        self._metrics = metrics

    async def UpsertItems(  # noqa: N802 - the rpc's name
        self,
        request: messages.UpsertItemsRequest,
        context: _Context,  # noqa: ARG002
    ) -> messages.UpsertItemsResponse:
        """Adds items or replaces them, each with a status of its own.

        Raises:
            InvalidField: there are none or too many, or the tenant's name is too long.
            NotServed: another tenant than the default one.
        """
        check_request(request, "items")
        entries = await self._judged(checked(request.items))
        items = [entry for entry in entries if isinstance(entry, LiveItem)]
        done = [True] * len(items) if request.validate_only else await self._changing.upsert(items)
        is_done = {item.item_id: is_done for item, is_done in zip(items, done, strict=True)}
        results = [
            _result(entry.item_id, is_done[entry.item_id], messages.ITEM_STATUS_UPSERTED)
            if isinstance(entry, LiveItem)
            else entry
            for entry in entries
        ]
        self._metrics.count(results)
        return messages.UpsertItemsResponse(results=results)

    async def DeleteItems(  # noqa: N802 - the rpc's name
        self,
        request: messages.DeleteItemsRequest,
        context: _Context,  # noqa: ARG002
    ) -> messages.DeleteItemsResponse:
        """Takes items out, each with a status of its own. Errors as `UpsertItems`."""
        check_request(request, "item_ids")
        entries = checked_ids(request.item_ids)
        item_ids = list(dict.fromkeys(entry for entry in entries if isinstance(entry, str)))
        is_done = dict(zip(item_ids, await self._changing.delete(item_ids), strict=True))
        results = [
            _result(entry, is_done[entry], messages.ITEM_STATUS_DELETED) if isinstance(entry, str) else entry
            for entry in entries
        ]
        self._metrics.count(results)
        return messages.DeleteItemsResponse(results=results)

    async def _judged(self, entries: Sequence[Checked]) -> list[Checked]:
        """The items with their flags, refused ones as their results."""
        items = [entry for entry in entries if isinstance(entry, LiveItem)]
        verdicts = iter(await self._classifier.judge(items))
        judged: list[Checked] = []
        for entry in entries:
            if isinstance(entry, LiveItem):
                verdict = next(verdicts)
                if verdict.refusal is None:
                    judged.append(replace(entry, flags=verdict.flags))
                else:
                    judged.append(invalid(entry.item_id, *verdict.refusal))
            else:
                judged.append(entry)
        return judged


def registration(servicer: CatalogServicer) -> Register:
    """What a server needs to offer the service."""

    def register(server: grpc.aio.Server) -> list[str]:
        stubs.add_CatalogServiceServicer_to_server(servicer, server)
        return [SERVICE_NAME]

    return register


def _result(item_id: str, is_done: bool | None, status: messages.ItemStatus) -> messages.ItemResult:
    if is_done is None:
        status = messages.ITEM_STATUS_UNKNOWN
    elif not is_done:
        status = messages.ITEM_STATUS_UNAVAILABLE
    return messages.ItemResult(item_id=item_id, status=status)
