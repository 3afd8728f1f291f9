"""Makes the folder argv[2] look like one of bundles whose pointer names the bundle argv[3] of the folder argv[1]."""

import sys
from pathlib import Path

from features.bundle import open_bundle, serving_path


def main(bundles: Path, canary: Path, version: str) -> None:
    """Link the bundle and write the pointer; a bundle that does not open ends this with its error."""
    (canary / version).unlink(missing_ok=True)
    (canary / version).symlink_to(open_bundle(bundles / version).root)
    (canary / "serving").write_text(version + "\n")
    print(f"verified: {serving_path(canary).name}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
