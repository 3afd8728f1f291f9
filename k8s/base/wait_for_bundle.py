"""Waits until the pointer in the folder argv[1] names a bundle, and verifies every byte of it.

Run before a service's own container, so that an installation whose first bundle is still being trained waits quietly,
and a damaged bundle is named by the pod that met it.
"""

import sys
import time
from pathlib import Path

from features.bundle import BundleError, open_bundle, serving_path

SECONDS = 5.0


def main(bundles: Path) -> None:
    """Return when there is a bundle that opens; say once why not."""
    said = ""
    while True:
        try:
            print(f"verified: {open_bundle(serving_path(bundles)).version}", flush=True)
        except BundleError as error:
            if str(error) != said:
                said = str(error)
                print(f"waiting: {said}", flush=True)
            time.sleep(SECONDS)
        else:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]))
