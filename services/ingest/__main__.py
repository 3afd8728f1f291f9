"""`python -m services.ingest`: takes in events until SIGTERM or SIGINT."""

from features.lean_imports import block

block("torch", "transformers", "sklearn", "matplotlib")  # before anything that would import them when installed

import gc  # noqa: E402
import sys  # noqa: E402

import uvloop  # noqa: E402
from prometheus_client import CollectorRegistry  # noqa: E402

from features.bundle import BundleError  # noqa: E402
from services.common.process import ProcessError  # noqa: E402
from services.common.server import serve  # noqa: E402
from services.common.settings import SettingsError  # noqa: E402
from services.common.telemetry import configure_logging  # noqa: E402
from services.common.workers import run_workers, worker_count, worker_number  # noqa: E402
from services.ingest.root import assembled, gate  # noqa: E402
from services.ingest.served_bundle import ServedBundle  # noqa: E402
from services.ingest.settings import IngestSettings  # noqa: E402


def main() -> None:
    """Reads the settings, opens the bundle, serves; ends with status 1 and a sentence when one of these fails."""
    try:
        settings = IngestSettings.read()
        count = worker_count(settings.ingest_processes)
        if count > 1 and worker_number() is None:
            configure_logging(settings.log_level)
            run_workers("services.ingest", count)
            return
        uvloop.run(_serve(settings, ServedBundle(settings.bundles, settings.clock)))
    except (SettingsError, BundleError, ProcessError) as error:
        sys.exit(f"ingest: {error}")


async def _serve(settings: IngestSettings, bundle: ServedBundle) -> None:
    gc.freeze()  # what start-up left need not be walked through again
    registry = CollectorRegistry()
    async with assembled(settings, bundle, registry) as register:
        await serve(
            settings,
            settings.ingest_port,
            register,
            registry=registry,
            admission=gate(settings, registry),
            reuse_port=worker_number() is not None,
        )


if __name__ == "__main__":
    main()
