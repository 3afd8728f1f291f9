"""Writes the models of the serving bundle for the GPU into the folder argv[2], and again whenever the pointer moves.

Models are made beside that folder and renamed into it: what is mounted is its parent.

Choices: the server polls the folder and loads what is new; the towers of the bundle before stay, because ranking
processes switch a moment apart. `once` as argv[3] ends after the first: the server starts over models that are there.
The tokenizer's package, which NVIDIA's image lacks, is left below argv[4] where that is given. The towers of the bundle
that AISLE_SHADOW_BUNDLE names, a canary's, are there too.
"""

import os
import shutil
import sys
import time
from pathlib import Path

from features.bundle import BundleError, open_bundle
from services.common.pointer import RETRY_SECONDS, Pointer
from services.triton.repository import build_repository, prune_repository

POLL_SECONDS = 2.0
KEPT = 2


def main(bundles: Path, out: Path, shadow: str | None, *, once: bool) -> None:
    """Build; then follow the pointer unless it is to be done once."""
    pointer, versions = Pointer(bundles), list[str]()
    kept = [shadow] if shadow else []
    for version in kept:
        build_repository(open_bundle(bundles / version).root, "gpu", out)
    while True:
        if pointer.has_moved():
            try:
                bundle = open_bundle(pointer.target())
            except BundleError as error:
                if once:
                    raise
                print(f"kept what was there: {error}", flush=True)
                time.sleep(RETRY_SECONDS)
                continue
            built = build_repository(bundle.root, "gpu", out)
            versions = [bundle.version, *(version for version in versions if version != bundle.version)][:KEPT]
            prune_repository(out, [*versions, *kept], lambda name: print(f"deleting {name}", flush=True))
            print(f"{bundle.version}: {', '.join(built)}", flush=True)
        if once:
            return
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    if len(sys.argv) > 4:
        packages = Path(os.environ["AISLE_TRITON_VENV"]).glob("lib/python3.*/site-packages/tokenizers")
        shutil.copytree(next(packages), Path(sys.argv[4]) / "tokenizers", dirs_exist_ok=True)
    main(Path(sys.argv[1]), Path(sys.argv[2]), os.environ.get("AISLE_SHADOW_BUNDLE"), once="once" in sys.argv[3:4])
