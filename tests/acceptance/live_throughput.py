"""Line 3: what one ingest process takes, and what an event costs it.

Valkey flushes to disk every second and shares the servers' cores with the ingest process; there is no updater, which
would share them too and is no part of what is promised. The events come from a process on the other cores.
"""

import os
import time
from pathlib import Path

import psutil

from tests.acceptance.folders import emptied
from tests.acceptance.live_load import Load, load_under_way
from tests.acceptance.live_parts import Folders, pinned_parts
from tests.acceptance.ranking_stack import cpu_seconds
from tests.acceptance.rows import Row, at_least, at_most, told

SECONDS = 30.0
BATCH = 100
CALLERS = 4
SHOPPERS = 5000


def throughput() -> list[Row]:
    """Half a minute, over the default bundle."""
    return measured(Folders(emptied("live/throughput"), Path("bundles")), SECONDS)


def measured(folders: Folders, seconds: float) -> list[Row]:
    """Batches without pause for so long."""
    shoppers = [f"shopper {number}" for number in range(SHOPPERS)]
    load = Load(bundles=folders.bundles, prefix="throughput", batch=BATCH, callers=CALLERS)
    with pinned_parts(folders, append_fsync="everysec", updater=False) as stack:
        process = psutil.Process(stack.processes["ingest"].pid)
        valkey = psutil.Process(stack.processes["valkey"].pid)
        before = [cpu_seconds(process), cpu_seconds(valkey)]
        with load_under_way(stack.addresses["ingest"], load, shoppers, folders.root / "logs") as running:
            time.sleep(seconds)  # how long is measured
            summary = running.finish()
        spent = [cpu_seconds(process) - before[0], cpu_seconds(valkey) - before[1]]
    return [
        told("cores", os.cpu_count() or 0),
        told("accepted_events", summary.accepted),
        at_most("events_not_accepted", sum(summary.other.values()), 0),
        at_least("events_per_second", round(summary.per_second), 5000),
        at_most("ingest_cpu_us_per_event", round(spent[0] / summary.accepted * 1e6, 1), 150.0),
        told("valkey_cpu_us_per_event", round(spent[1] / summary.accepted * 1e6, 1)),
        told("batch_p50_ms", round(summary.p50_ms, 1)),
        told("batch_p99_ms", round(summary.p99_ms, 1)),
    ]
