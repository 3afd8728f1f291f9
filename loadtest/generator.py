"""`python -m loadtest.generator`: visits a shop as a plan says, and writes what came of every call.

Prints one line of JSON when the run begins, `{"began": <Unix seconds of time 0>}`. SIGTERM ends the run early; the
files are written all the same. Status 1: the run is not whole, or there is none; 2: wrong usage.
"""

import os
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
    """Sockets and all that waits become gevent's, but for threads, which gRPC needs as they are (green.py)."""
    from gevent import monkey  # noqa: PLC0415 - nothing is patched where this module is only imported

    monkey.patch_all(thread=False)
    os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"  # or importing Locust patches threads too


if __name__ == "__main__":
    main()
