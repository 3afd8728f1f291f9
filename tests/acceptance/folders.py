"""Where a line keeps what it writes: until it runs again, so that the logs of a failure can be read."""

import shutil
from pathlib import Path

ACCEPT = Path("build/accept")


def emptied(name: str) -> Path:
    """The folder of that name, with nothing in it."""
    folder = ACCEPT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
