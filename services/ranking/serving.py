"""The serving process: a release, opened, and a server over it. Imports everything; `__main__` does so late."""

import gc
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import uvloop
from prometheus_client import CollectorRegistry

from features.bundle import open_bundle
from services.common.overload import Admission
from services.common.server import serve
from services.common.telemetry import configure_logging
from services.common.workers import worker_number
from services.ranking.app import registration
from services.ranking.release import Release, load_release
from services.ranking.root import assembled
from services.ranking.settings import RankingSettings

Service = Coroutine[Any, Any, None]


def opened(settings: RankingSettings, root: Path, ranker_code: Callable[[], Path | None]) -> Service:
    """What serves the bundle in a directory, for `run`.

    Args:
        settings: Of the process.
        root: The bundle's directory.
        ranker_code: Waits for the file with the ranker's machine code; None: it is made here.

    Raises:
        BundleError: naming the file that is missing, altered or does not fit.
    """
    configure_logging(settings.log_level)  # before `serve` does: waiting for the back ends is logged, too
    return _serve(settings, load_release(open_bundle(root), ranker_code))


def run(service: Service) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        SettingsError: a file that the settings name says what it must not.
    """
    uvloop.run(service)  # a fifteenth less CPU a call than asyncio's own loop, measured side by side


async def _serve(settings: RankingSettings, release: Release) -> None:
    gc.freeze()  # what start-up left: to walk through it takes a fifth of a second, in which nobody is answered
    registry = CollectorRegistry()
    admission = Admission(settings.queue_max, registry)
    async with assembled(settings, release, registry, admission) as servicer:
        del release  # or it would stay when another one serves
        port, register = settings.ranking_port, registration(servicer)
        await serve(
            settings, port, register, registry=registry, admission=admission, reuse_port=worker_number() is not None
        )
