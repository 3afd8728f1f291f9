"""Privacy over real stores: the composition root, and the only part that must have Feast."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from features.shopper_digest import Digest
from features.store import UserEraser, UserReader, close_store, open_store
from services.common.streams import connect
from services.ingest.privacy.audit import AuditLog
from services.ingest.privacy.export import Exports
from services.ingest.privacy.files import EventFiles, Tables
from services.ingest.privacy.handover import Handover
from services.ingest.privacy.online_store import OnlineStore
from services.ingest.privacy.opt_outs import OptOuts
from services.ingest.privacy.places import Places
from services.ingest.privacy.requests import Parts, Privacy
from services.ingest.privacy.shopper import Shoppers
from services.ingest.privacy.stream_store import StreamStore

_COMMAND_SECONDS = 10.0
_READ_SECONDS = 5.0
_LEASE_SECONDS = 10.0
_HANDOVER_SECONDS = 60.0
"""Longer than an updater's longest round, and than the lease of one that has died."""


@asynccontextmanager
async def opened(places: Places, digest: Digest, pseudonym_key: bytes | None = None) -> AsyncIterator[Privacy]:
    """Privacy, for one event loop; connections of its own, whose commands may take long, are closed on leaving.

    Args:
        places: Where everything is.
        digest: From features.shopper_digest.open_digest.
        pseudonym_key: By which files hide ids; None where they show them.
    """
    client = connect(places.redis, _COMMAND_SECONDS)
    store = open_store(places.feast_dir, places.offline_dir, places.redis, places.project)
    try:
        streams, eraser = StreamStore(client, places.shards), UserEraser(store)
        yield Privacy(
            Parts(
                shoppers=Shoppers(digest, pseudonym_key),
                streams=streams,
                online=OnlineStore(eraser),
                fed_by_updaters=[EventFiles(places.live_dir)],
                others=[
                    Tables("offline_files", places.offline_dir, places.live_dir),
                    Tables(
                        "training_cache",
                        places.training_dir,
                        places.live_dir,
                        besides=(places.live_dir, places.offline_dir),
                    ),
                ],
                opt_outs=OptOuts(client, places.shards, places.live_dir),
                handover=Handover(client, _LEASE_SECONDS, _HANDOVER_SECONDS),
                exports=Exports(places.live_dir, streams, UserReader(store, _READ_SECONDS)),
                audit=AuditLog(places.live_dir),
                client=client,
                now=lambda: datetime.now(UTC),
            )
        )
    finally:
        await close_store(store)
        await client.aclose()
