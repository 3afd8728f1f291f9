"""`python -m services.ranking`: serves the bundle that the pointer names until SIGTERM or SIGINT."""

from features.lean_imports import block

block("torch", "transformers", "sklearn", "matplotlib")  # before anything that would import them when installed

import asyncio  # noqa: E402
import sys  # noqa: E402

from prometheus_client import CollectorRegistry  # noqa: E402

from features.bundle import BundleError  # noqa: E402
from services.common.server import serve  # noqa: E402
from services.common.settings import SettingsError  # noqa: E402
from services.common.telemetry import configure_logging  # noqa: E402
from services.ranking.app import registration  # noqa: E402
from services.ranking.release import Release, open_release  # noqa: E402
from services.ranking.root import assembled  # noqa: E402
from services.ranking.settings import RankingSettings  # noqa: E402


def main() -> None:
    """Reads the settings, opens the bundle, serves; ends with status 1 and a sentence when one of these fails."""
    try:
        settings = RankingSettings.read()
        configure_logging(settings.log_level)  # before `serve` does: waiting for the back ends is logged, too
        release = open_release(settings.bundles)
    except (SettingsError, BundleError, ValueError) as error:
        sys.exit(f"ranking: {error}")
    try:
        asyncio.run(_run(settings, release))
    except SettingsError as error:
        sys.exit(f"ranking: {error}")


async def _run(settings: RankingSettings, release: Release) -> None:
    registry = CollectorRegistry()
    async with assembled(settings, release, registry) as servicer:
        await serve(settings, settings.ranking_port, registration(servicer), registry=registry)


if __name__ == "__main__":
    main()
