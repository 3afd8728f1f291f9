"""What is stored about a shopper, page by page.

Choices: events come from the log's files, from streams and dead letters that are in no file yet, and from the shopper's
state, which also holds what the shop's own data said before; each event once, by its id. Every page looks anew: one
shopper's events are few. Features are the rows that lists are made of, the known shopper's and the visitor's; where
files hide ids, a row by the pseudonym is told for want of one by the id.

An item that a caller's page has passed is not looked for again (see tokens.py).
"""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from aisle.v1 import event_service_pb2 as messages

from features import event_log
from features.store import StoreUnavailable, UserReader
from services.common.streams import Unavailable
from services.ingest import records
from services.ingest.privacy.disk import using
from services.ingest.privacy.shopper import Shopper
from services.ingest.privacy.stream_store import StreamStore
from services.ingest.privacy.tokens import Place, page_token, place_of
from services.ingest.updater.state import frame_of

PAGE_SIZE_DEFAULT = 100


class Exports:
    """Reads what is stored."""

    def __init__(self, live_dir: Path, streams: StreamStore, reader: UserReader) -> None:
        """Args: reader: of the online store."""
        self._live_dir, self._streams, self._reader = live_dir, streams, reader

    async def page(self, shopper: Shopper, size: int, token: str) -> messages.ExportUserResponse:
        """A page.

        Args:
            shopper: Whose.
            size: Events, at most; 0 means PAGE_SIZE_DEFAULT.
            token: Of the page before; empty for the first.

        Raises:
            InvalidField: the token is not one of this shopper's.
            Unavailable: a store does not answer.
        """
        after = place_of(shopper.ids, token) if token else None
        events = await self.events(shopper)
        rest = [event for event in events if after is None or _place(event) > after]
        shown, more = rest[: size or PAGE_SIZE_DEFAULT], len(rest) > (size or PAGE_SIZE_DEFAULT)
        page = messages.ExportUserResponse(
            events=shown, next_page_token=page_token(shopper.ids, _place(shown[-1])) if more else ""
        )
        if not token:
            rows = [await self._features(shopper, name) for name in shopper.ids]
            page.features.update(rows[0])
            page.visitor_features.update(*rows[1:])
        return page

    async def events(self, shopper: Shopper) -> list[messages.Event]:
        """Every event, oldest first."""
        states = await self._streams.states(shopper)
        streamed = [event for _, _, event in await self._streams.events(shopper)]
        # Last: what leaves a stream meanwhile has come into a file before.
        with using(self._live_dir / "events"):
            logged = await asyncio.to_thread(self._logged, shopper)
        sources = (logged, streamed, _of_states(states, shopper))
        found = {event.event_id: event for source in reversed(sources) for event in source}
        return sorted(found.values(), key=_place)

    def _logged(self, shopper: Shopper) -> list[messages.Event]:
        rows = event_log.rows_of(self._live_dir, shopper.names)
        return [_with_ids(records.event_of(row), shopper) for row in rows.iter_rows(named=True)]

    async def _features(self, shopper: Shopper, of: str) -> dict[str, str]:
        """What is known of one of the shopper's ids."""
        for name in (of, *(name for name in shopper.names - {of} if shopper.id_of(name) == of)):
            try:
                row = await self._reader.read(name)
            except StoreUnavailable as error:
                raise Unavailable(str(error)) from error
            if row is not None:
                return _as_json(row)
        return {}


def _of_states(states: Mapping[str, bytes], shopper: Shopper) -> Iterable[messages.Event]:
    for row in frame_of(states).iter_rows(named=True):
        event = _with_ids(records.event_of(dict.fromkeys(event_log.LOGGED) | row), shopper)
        yield event if event.user_id == shopper.user_id else _as_visitor(event)


def _as_visitor(event: messages.Event) -> messages.Event:
    event.visitor_id, event.user_id = event.user_id, ""
    return event


def _with_ids(event: messages.Event, shopper: Shopper) -> messages.Event:
    """The shopper's own ids in the place of their pseudonyms."""
    event.user_id = shopper.id_of(event.user_id)
    event.visitor_id = shopper.id_of(event.visitor_id)
    return event


def _place(event: messages.Event) -> Place:
    return Place(records.time_us(event), event.event_id)


def _as_json(row: Mapping[str, Any]) -> dict[str, str]:
    return {name: json.dumps(_plain(value)) for name, value in row.items() if name != "event_timestamp"}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return list(value)
    return value
