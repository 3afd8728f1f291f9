"""The ranker's machine code, made by a child process beside a service that answers.

Choices: a process and not a thread, since the translation is Python code that takes turns with the requests for as long
as it lasts and leaves so many objects behind that collecting them stops everything; at the lowest priority, since
nobody waits for it. `python -m services.ranking.compiling MODEL CODE` is that child.
"""

import asyncio
import os
import sys
from pathlib import Path

from services.ranking.ordering.compiled_trees import compile_trees

_NICENESS = 19


class CompilingError(Exception):
    """The child failed; the message is the end of what it said."""


async def compile_aside(model: Path, code: Path) -> None:
    """Write the machine code of a model in LightGBM's text format into the file `code`.

    Raises:
        CompilingError: it cannot be made.
    """
    command = [sys.executable, "-m", "services.ranking.compiling", str(model), str(code)]
    child = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        _, said = await child.communicate()
    finally:
        if child.returncode is None:  # the service stops
            child.kill()
    if child.returncode != 0:
        raise CompilingError(f"{model}: status {child.returncode}: {said.decode(errors='replace')[-1000:]}")


def main() -> None:
    """The child: compile argv's model into argv's file."""
    os.nice(_NICENESS)
    model, code = map(Path, sys.argv[1:])
    compile_trees(model.read_text(), code)


if __name__ == "__main__":
    main()
