"""`python -m services.ingest.updater`: turns events into features and files until SIGTERM or SIGINT.

More updaters share the shards among themselves. One that is stopped finishes its round, writes its files and gives its
shards back.
"""

from features.lean_imports import block

block("torch", "transformers", "sklearn", "matplotlib")  # before anything that would import them when installed

import asyncio  # noqa: E402
import gc  # noqa: E402
import sys  # noqa: E402

import uvloop  # noqa: E402
from prometheus_client import CollectorRegistry  # noqa: E402

from features.bundle import Bundle, BundleError, open_bundle, serving_path  # noqa: E402
from services.common.server import serve  # noqa: E402
from services.common.settings import SettingsError  # noqa: E402
from services.common.telemetry import configure_logging  # noqa: E402
from services.ingest.updater.root import updating  # noqa: E402
from services.ingest.updater.settings import UpdaterSettings  # noqa: E402


def main() -> None:
    """Reads the settings, opens the bundle, works; ends with status 1 and a sentence when one of these fails."""
    try:
        settings = UpdaterSettings.read()
        configure_logging(settings.log_level, shopper_ids=settings.log_shopper_ids)
        uvloop.run(_work(settings, open_bundle(serving_path(settings.bundles))))
    except (SettingsError, BundleError, ValueError) as error:
        sys.exit(f"updater: {error}")


async def _work(settings: UpdaterSettings, bundle: Bundle) -> None:
    """Serves health beside the work; when the work ends by an error, so does the process."""
    gc.freeze()  # what start-up left: to walk through it again and again takes longer than what the rounds leave
    registry = CollectorRegistry()
    async with updating(settings, bundle, registry) as work:
        serving = asyncio.create_task(serve(settings, settings.updater_port, lambda _: (), registry=registry))
        await asyncio.wait({work, serving}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            serving.cancel()
        await asyncio.gather(serving, return_exceptions=work.done())
    await work


if __name__ == "__main__":
    main()
