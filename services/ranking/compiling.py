"""The ranker's machine code, made by a child process beside a service that starts or answers.

Choices: a process and not a thread, since the translation is Python code that takes turns with the requests for as long
as it lasts and leaves so many objects behind that collecting them stops everything. Beside a service that answers it
has the lowest priority, since nobody waits for it; beside one that starts it works while the libraries are imported.
`python -m services.ranking.compiling MODEL CODE NICENESS` is that child; it imports as little as it can.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from features.lean_imports import block

_LEAST = 19
"""Niceness of the lowest priority."""


class CompilingError(Exception):
    """The child failed; the message is the end of what it said."""


async def compile_aside(model: Path, code: Path) -> None:
    """Write the machine code of a model in LightGBM's text format into the file `code`.

    Raises:
        CompilingError: it cannot be made.
    """
    child = await asyncio.create_subprocess_exec(
        *_command(model, code, _LEAST),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, said = await child.communicate()
    finally:
        if child.returncode is None:  # the service stops
            child.kill()
    if child.returncode != 0:
        raise CompilingError(f"{model}: status {child.returncode}: {said.decode(errors='replace')[-1000:]}")


@contextmanager
def compiled_meanwhile(model: Path) -> Iterator[Callable[[], Path | None]]:
    """Begin to compile a model in LightGBM's text format, and go on in the block.

    Yields:
        Waits for the file with the machine code, which is there until the block ends; None if it cannot be made.
    """
    with tempfile.TemporaryDirectory(prefix="aisle-") as folder:
        code = Path(folder) / "ranker.o"
        child = subprocess.Popen(  # noqa: S603 - this program itself
            _command(model, code, 0), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            yield lambda: code if child.wait() == 0 else None
        finally:
            child.kill()
            child.wait()


def _command(model: Path, code: Path, niceness: int) -> list[str]:
    return [sys.executable, "-m", "services.ranking.compiling", str(model), str(code), str(niceness)]


def main() -> None:
    """The child: compile argv's model into argv's file."""
    block("pandas")  # which the compiler imports where it can, to no use
    from services.ranking.compiled_trees import compile_trees  # noqa: PLC0415 - after that, and in the child only

    model, code, niceness = sys.argv[1:]
    os.nice(int(niceness))
    compile_trees(Path(model).read_text(), Path(code), inline=True)


if __name__ == "__main__":
    main()
