"""The ranker's machine code, made by a child process beside a service that starts or answers.

Choices: a process and not a thread, since the translation is Python code that takes turns with the requests for as long
as it lasts and leaves so many objects behind that collecting them stops everything. Beside a service that answers it
has the lowest priority, since nobody waits for it; beside one that starts it works while the libraries are imported.
Of several workers the first one's child makes the code, and the others' wait for it: nothing is made twice.
`python -m services.ranking.compiling MODEL CODE NICENESS` is that child; it imports as little as it can.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from features.lean_imports import block
from services.common.exclusive import exclusive
from services.common.workers import scratch_folder

_LEAST = 19
"""Niceness of the lowest priority."""
_CODE = ".ranker.o"
_KEPT = 3
"""Codes of so many bundles stay: a worker that is started again needs the newest, a rollback the one before."""


class CompilingError(Exception):
    """The child failed; the message is the end of what it said."""


@asynccontextmanager
async def compiled_aside(model: Path) -> AsyncIterator[Path]:
    """Compile a model in LightGBM's text format beside a service that answers.

    Yields:
        The file with the machine code, which is there until the block ends.

    Raises:
        CompilingError: it cannot be made.
    """
    with scratch_folder() as folder:
        code = _code_of(model, folder)
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
        yield code


@contextmanager
def compiled_meanwhile(model: Path) -> Iterator[Callable[[], Path | None]]:
    """Begin to compile a model in LightGBM's text format, and go on in the block.

    Yields:
        Waits for the file with the machine code, which is there until the block ends; None if it cannot be made.
    """
    with scratch_folder() as folder:
        code = _code_of(model, folder)
        child = subprocess.Popen(  # noqa: S603 - this program itself
            _command(model, code, 0), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            yield lambda: code if child.wait() == 0 else None
        finally:
            child.kill()
            child.wait()


def _code_of(model: Path, folder: Path) -> Path:
    """Where a bundle's code goes: a version names one bundle."""
    return folder / f"{model.absolute().parent.name}{_CODE}"


def _command(model: Path, code: Path, niceness: int) -> list[str]:
    return [sys.executable, "-m", "services.ranking.compiling", str(model), str(code), str(niceness)]


def main() -> None:
    """The child: compile argv's model into argv's file, unless another worker has."""
    block("pandas")  # which the compiler imports where it can, to no use
    from services.ranking.compiled_trees import compile_trees  # noqa: PLC0415 - after that, and in the child only

    model, code, niceness = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    os.nice(niceness)
    with exclusive(code.parent):
        if code.exists():
            return
        draft = code.with_suffix(".draft")
        draft.unlink(missing_ok=True)  # of one that was killed: it would pass for code
        compile_trees(model.read_text(), draft, inline=True)
        draft.rename(code)
        _forget_all_but_latest(code.parent)


def _forget_all_but_latest(folder: Path) -> None:
    """A service that swaps for a year must not fill the disk."""
    codes = sorted(folder.glob(f"*{_CODE}"), key=lambda code: code.stat().st_mtime_ns)
    for code in codes[:-_KEPT]:
        code.unlink()


if __name__ == "__main__":
    main()
