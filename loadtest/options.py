"""The command line of `python -m loadtest`."""

import argparse
import math
from pathlib import Path

from loadtest.access import add_access
from loadtest.profiles import PROFILES
from services.stack import add_options

CAPACITY = "capacity"
"""The profile that makes many runs."""
VISITS_PER_SECOND = 6.0
"""About 55 calls a second, which leaves a laptop with everything on two cores half idle."""


def parser_of(description: str) -> argparse.ArgumentParser:
    """What can be asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--target", metavar="HOST:PORT", help="the ranking service (default: as BUILD/stack.json says)")
    where.add_argument("--start-stack", action="store_true", help="start everything on this machine, and stop it again")
    add("--ingest", metavar="HOST:PORT", help="where events are written; none: nowhere")
    add("--profile", choices=[*PROFILES, CAPACITY], default="smoke", help="how the rate goes (default %(default)s)")
    add("--rate-seconds", nargs=2, type=_positive, metavar=("N", "S"), help="no profile: N visits/s for S seconds")
    rate_help = "the profile's base rate (default %(default)s)"
    add("--visits-per-second", type=_positive, default=VISITS_PER_SECOND, metavar="N", help=rate_help)
    add("--environment", default="local", metavar="NAME", help="whose service levels to keep (default %(default)s)")
    add("--levels", type=Path, metavar="FILE", help="service levels of another file")
    add("--fault", action="append", default=[], metavar="KIND:PART@S[+S]", help="kill:triton@20+8; as often as wanted")
    add("--swap-to", metavar="VERSION", help="what swap:bundle promotes (default: the only other bundle)")
    add("--ranking-processes", type=int, metavar="N", help="with --start-stack: how many share the ranking port")
    add("--journeys", choices=("all", "home"), help="home: one list per visit (default: all; of capacity: home)")
    add("--workers", type=int, default=1, metavar="N", help="processes that make the calls (default %(default)s)")
    add("--remote-workers", type=int, default=0, metavar="N", help="to wait for: python -m loadtest.generator --worker")
    add("--connections", type=int, default=4, metavar="N", help="of each worker to the ranking service (%(default)s)")
    add("--timeout", type=_positive, default=0.5, metavar="SECONDS", help="of a call, retries included (%(default)s)")
    add("--seed", type=int, default=0)
    add("--web-ui", type=int, metavar="PORT", help="show Locust's pages there while the run lasts")
    add("--out", type=Path, metavar="FOLDER", help="of the run (default: a new one in BUILD/loadtest/runs)")
    add("--accept", action="store_true", help="later runs are compared with this one, if it passes")
    steps = parser.add_argument_group("capacity")
    steps.add_argument("--first-rate", type=_positive, default=5.0, metavar="N", help="visits/s of an idle server")
    steps.add_argument("--step-seconds", type=_positive, default=10.0, metavar="S", help="of a run (%(default)s)")
    steps.add_argument("--rate-max", type=_positive, default=math.inf, metavar="N", help="where to stop")
    steps.add_argument("--resolution", type=_positive, default=1.05, metavar="X", help="how narrow (%(default)s)")
    add_access(parser)
    add_options(parser)
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: must be above 0 and finite")
    return value
