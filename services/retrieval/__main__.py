"""`python -m services.retrieval`: the index of the serving bundle, and that of the one before, until SIGTERM."""

import asyncio
import sys

from features.bundle import BundleError
from services.common.pointer import Pointer, following
from services.common.server import serve
from services.common.settings import SettingsError
from services.retrieval.app import RetrievalServicer, RetrievalSettings, load_servicer, registration


def main() -> None:
    """Reads the settings, opens the bundle, serves; ends with status 1 and a sentence when one of these fails."""
    try:
        settings = RetrievalSettings.read()
        servicer = load_servicer(settings)
    except (SettingsError, BundleError, ValueError) as error:
        sys.exit(f"retrieval: {error}")
    try:
        asyncio.run(_serve(settings, servicer))
    except SettingsError as error:
        sys.exit(f"retrieval: {error}")


async def _serve(settings: RetrievalSettings, servicer: RetrievalServicer) -> None:
    async with following(Pointer(settings.bundles), servicer.switch_to, settings.swap_poll_seconds):
        await serve(settings, settings.retrieval_port, registration(servicer))


if __name__ == "__main__":
    main()
