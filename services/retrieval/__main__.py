"""`python -m services.retrieval`: serves the index of the serving bundle until SIGTERM or SIGINT."""

import asyncio
import sys

from features.bundle import BundleError
from services.common.server import serve
from services.common.settings import SettingsError
from services.retrieval.app import RetrievalSettings, load_servicer, registration


def main() -> None:
    """Reads the settings, opens the bundle, serves; ends with status 1 and a sentence when one of these fails."""
    try:
        settings = RetrievalSettings.read()
        servicer = load_servicer(settings)
    except (SettingsError, BundleError, ValueError) as error:
        sys.exit(f"retrieval: {error}")
    asyncio.run(serve(settings, settings.retrieval_port, registration(servicer)))


if __name__ == "__main__":
    main()
