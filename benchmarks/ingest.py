"""Taking events in beside the usual ways: Feast's push for each event, and XADD to the same Valkey.

One caller that waits for each answer, on one Valkey whose log is flushed every second. Events and rows are made before
the clock runs. There is no updater: it works behind the answers, on either side.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import grpc
import polars as pl

from benchmarks.ingest_ways import Calls, PushedRows, StreamedEvents, WrittenEvents, made_events
from benchmarks.pairs import alternated, compared, compared_row, seconds
from benchmarks.rows import Row
from features import bundle as files
from features.adapters import load
from features.bundle import open_bundle, serving_path
from features.feast_repo import open_store
from features.materialise import user_rows
from services.common.process import ManagedProcess, free_port
from services.common.valkey import ValkeyConfig, start_valkey

BATCH = 100
_READY_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How much is measured."""

    rounds: int = 12
    alone: int = 100
    """Events in a round where each is a call of its own."""
    batches: int = 10
    """Batches in a round."""
    warm_up_rounds: int = 2
    shoppers: int = 500


def rows() -> list[Row]:
    """All rows of the group, over the default bundle and data."""
    return measured("complete-journey", Path("bundles"), Path("build"))


def measured(data: str, bundles: Path, build: Path, size: Size = Size()) -> list[Row]:
    """All rows of the group.

    Args:
        data: ADAPTER or ADAPTER:DIR, whose shoppers' rows are pushed.
        bundles: the serving bundle's items are seen.
        build: prepared data lies in `data/` below it; a folder for what the services keep is made there, and removed.
        size: how much.
    """
    bundle = open_bundle(serving_path(bundles))
    users = user_rows(load(data, build / "data"), bundle).head(size.shoppers)
    items = pl.read_parquet(bundle.path(files.ITEMS), columns=["item_id"])["item_id"].to_list()
    build.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=build, prefix="bench-ingest-") as folder,
        _parts(Path(folder), bundles) as parts,
    ):
        events = made_events(users["user_id"].to_list(), items)
        written, streamed = WrittenEvents(parts.ingest, events), StreamedEvents(parts.valkey, events)
        pushed = PushedRows(open_store(Path(folder) / "feast", Path(folder) / "offline", parts.valkey), users)
        sides = {
            "written_alone": _per_second(written.calls, size.alone, 1),
            "written": _per_second(written.calls, size.batches, BATCH),
            "pushed_alone": _per_second(pushed.calls, size.alone, 1),
            "pushed": _per_second(pushed.calls, size.batches, BATCH),
            "added_alone": _per_second(streamed.calls, size.alone, 1),
            "added": _per_second(streamed.calls, size.batches, BATCH),
        }
        found = alternated(sides, size.rounds, size.warm_up_rounds)
        pushed.check()
        written.close()
    return _told(found, size)


def _per_second(made: Callable[[int, int], Calls], count: int, batch: int) -> Callable[[], float]:
    """A round of one side: events a second over `count` calls of `batch` events."""

    def one_round() -> float:
        calls = made(count, batch)
        return count * batch / seconds(lambda: [call() for call in calls])

    return one_round


def _told(found: dict[str, list[float]], size: Size) -> list[Row]:
    feast, valkey = f"Feast {version('feast')}'s push", f"XADD by redis-py {version('redis')}"
    many = f"WriteEvents of {BATCH} events a call"
    ours = "WriteEvents checks each event, writes it once however often it is sent, leaves out who opted out, and "
    ours += "answers for each when it is in a stream of the same Valkey (everysec)"
    push = "the push writes a whole feature row, made before the clock ran, and keeps no event"
    shared = f"One caller; {size.rounds} rounds"
    return [
        _row(found, "event_alone", "written_alone", "pushed_alone", f"{feast}, a row for each event",
             f"{ours}; {push}. {shared} of {size.alone} calls with one."),
        _row(found, "batch", "written", "pushed", f"{feast} of {BATCH} rows at once",
             f"{many}: {ours}; {push}. {shared} of {size.batches}."),
        _row(found, "batch_over_xadd_each", "written", "added_alone", f"{valkey}, one for each event",
             f"{many}: {ours}; XADD writes the event's bytes and checks nothing. {shared}.",
             "Each batch waits for the ingest process and for Valkey: with fewer free cores than processes that takes "
             "longer than what a hundred bare writes take."),
        _row(found, "batch_over_xadd_pipeline", "written", "added", f"{valkey}, {BATCH} in a pipeline",
             f"{many}: {ours}; the pipeline writes the events' bytes and checks nothing. {shared} of {size.batches}.",
             "The pipeline is the bare write: no check, no memory of ids, no opt-out, no answer for each event, and no "
             "service between the shop and Valkey."),
    ]  # fmt: skip


def _row(
    found: dict[str, list[float]], name: str, ours: str, theirs: str, rival: str, method: str, behind: str = ""
) -> Row:
    result = compared(found[ours], found[theirs], more_is_better=True)
    return compared_row(f"ingest.{name}", result, unit="events/s", rival=rival, method=method, behind=behind)


@dataclass(frozen=True, slots=True)
class _Parts:
    valkey: str
    ingest: str


@contextmanager
def _parts(folder: Path, bundles: Path) -> Iterator[_Parts]:
    """A Valkey and an ingest process that keep what they keep below `folder`."""
    valkey_port, port = free_port(), free_port()
    settings: dict[str, object] = {
        "BUNDLES": bundles.resolve(),
        "REDIS": f"127.0.0.1:{valkey_port}",
        "TRITON_ADDRESS": f"127.0.0.1:{free_port()}",  # events need no Triton
        "FEAST_DIR": folder / "feast",
        "OFFLINE_DIR": folder / "offline",
        "LIVE_DIR": folder / "live",
        "TRAINING_DIR": folder,
        "INGEST_PORT": port,
    }
    environment = os.environ | {f"AISLE_{name}": str(value) for name, value in settings.items()}
    command = [sys.executable, "-m", "services.ingest"]
    with (
        start_valkey(ValkeyConfig(folder / "valkey", valkey_port, append_fsync="everysec")),
        ManagedProcess("ingest", command, log_path=folder / "ingest.log", environment=environment),
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        grpc.channel_ready_future(channel).result(_READY_SECONDS)
        yield _Parts(f"127.0.0.1:{valkey_port}", f"127.0.0.1:{port}")
