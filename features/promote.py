"""Which bundle serves: `python -m features.promote [VERSION | --back]`, for whoever looks, decides or goes back.

Running processes notice within seconds. Without arguments: what there is, and what serves.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from features.bundle import MANIFEST, BundleError, promote, served_before, serving_path


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; a version that does not open ends it with its error."""
    parser = argparse.ArgumentParser(prog="python -m features.promote", description=__doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("version", nargs="?", help="is to serve from now on")
    which.add_argument("--back", action="store_true", help="the one that served before is to serve again")
    parser.add_argument("--bundles", type=Path, default=Path("bundles"), help="where bundles live (%(default)s)")
    parser.add_argument("--reason", default="by hand", help="for bundles/serving.log (default %(default)s)")
    options = parser.parse_args(arguments)
    try:
        if options.version or options.back:
            version = options.version or _before(options.bundles)
            promote(options.bundles, version, options.reason, datetime.now(UTC))
        _list(options.bundles)
    except BundleError as error:
        sys.exit(f"promote: {error}")


def _before(bundles: Path) -> str:
    version = served_before(bundles)
    if version is None:
        raise BundleError(f"{bundles / 'serving.log'}: nothing served before")
    return version


def _list(bundles: Path) -> None:
    serving = serving_path(bundles).name
    for manifest in sorted(bundles.glob(f"[!.]*/{MANIFEST}"), key=lambda path: path.stat().st_mtime_ns):
        version = manifest.parent.name
        print(f"{'*' if version == serving else ' '} {version}  up to {json.loads(manifest.read_text())['as_of']}")


if __name__ == "__main__":
    main()
