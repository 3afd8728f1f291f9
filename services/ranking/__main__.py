"""`python -m services.ranking`: serves the bundle that the pointer names until SIGTERM or SIGINT."""

from features.lean_imports import block

block("torch", "transformers", "sklearn", "matplotlib")  # before anything that would import them when installed

import gc  # noqa: E402
import sys  # noqa: E402

import uvloop  # noqa: E402
from prometheus_client import CollectorRegistry  # noqa: E402

from features.bundle import BundleError  # noqa: E402
from services.common.overload import Admission  # noqa: E402
from services.common.process import ProcessError  # noqa: E402
from services.common.server import serve  # noqa: E402
from services.common.settings import SettingsError  # noqa: E402
from services.common.telemetry import configure_logging  # noqa: E402
from services.common.workers import run_workers, worker_count, worker_number  # noqa: E402
from services.ranking.app import registration  # noqa: E402
from services.ranking.release import Release, open_release  # noqa: E402
from services.ranking.root import assembled  # noqa: E402
from services.ranking.settings import RankingSettings  # noqa: E402


def main() -> None:
    """Reads the settings, opens the bundle, serves; ends with status 1 and a sentence when one of these fails."""
    try:
        settings = RankingSettings.read()
        count = worker_count(settings.ranking_processes)
        if count > 1 and worker_number() is None:
            run_workers("services.ranking", count)
            return
        configure_logging(settings.log_level)  # before `serve` does: waiting for the back ends is logged, too
        service = _serve(settings, open_release(settings.bundles))
    except (SettingsError, BundleError, ProcessError, ValueError) as error:
        sys.exit(f"ranking: {error}")
    try:
        uvloop.run(service)  # a fifteenth less CPU a call than asyncio's own loop, measured side by side
    except SettingsError as error:
        sys.exit(f"ranking: {error}")


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


if __name__ == "__main__":
    main()
