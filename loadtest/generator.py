"""`python -m loadtest.generator`: visits a shop as a plan says, and writes what came of every call.

Prints one line of JSON when the run begins, `{"began": <Unix seconds of time 0>}`. SIGTERM ends the run early; the
files are written all the same. Status 1: the run is not whole, or there is none; 2: wrong usage.
"""

import sys
from collections.abc import Sequence

from loadtest.plan import Conducting, read_options


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, make this process a green one, conduct."""
    options = read_options(arguments)
    _turn_green()
    from loadtest import conductor  # noqa: PLC0415 - what it imports must find sockets and threads patched
    from loadtest.reports import GeneratorError  # noqa: PLC0415 - as above

    if not isinstance(options, Conducting):
        conductor.work(options)
        return
    try:
        conductor.conduct(options)
    except GeneratorError as error:
        sys.exit(f"generator: {error}")


def _turn_green() -> None:
    """Threads and sockets become gevent's; then gRPC is told, before it makes anything."""
    from gevent import monkey  # noqa: PLC0415 - nothing is patched where this module is only imported

    monkey.patch_all()
    from grpc.experimental.gevent import (  # type: ignore[import-not-found]  # no stubs  # noqa: PLC0415 - after the patches
        init_gevent,
    )

    init_gevent()


if __name__ == "__main__":
    main()
