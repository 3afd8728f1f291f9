"""`python -m services.ranking`: serves the bundle that the pointer names until SIGTERM or SIGINT.

What is imported here is little: the ranker is compiled by a child process while `serving` imports the rest, and a
process that only watches over workers needs none of it.
"""

from features.lean_imports import block

block("torch", "transformers", "sklearn", "matplotlib")  # before anything that would import them when installed

import sys  # noqa: E402

from features.bundle import RANKER, BundleError, serving_path  # noqa: E402
from services.common.process import ProcessError  # noqa: E402
from services.common.settings import SettingsError  # noqa: E402
from services.common.workers import run_workers, worker_count, worker_number  # noqa: E402
from services.ranking.compiling import compiled_meanwhile  # noqa: E402
from services.ranking.settings import RankingSettings  # noqa: E402


def main() -> None:
    """Reads the settings, opens the bundle, serves; ends with status 1 and a sentence when one of these fails."""
    try:
        settings = RankingSettings.read()
        count = worker_count(settings.ranking_processes)
        if count > 1 and worker_number() is None:
            run_workers("services.ranking", count)
            return
        root = serving_path(settings.bundles)
        with compiled_meanwhile(root / RANKER) as ranker_code:
            from services.ranking import serving  # noqa: PLC0415 - takes seconds, in which the child compiles

            service = serving.opened(settings, root, ranker_code)
    except (SettingsError, BundleError, ProcessError, ValueError) as error:
        sys.exit(f"ranking: {error}")
    try:
        serving.run(service)
    except SettingsError as error:
        sys.exit(f"ranking: {error}")


if __name__ == "__main__":
    main()
