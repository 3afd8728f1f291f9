"""What a generator is asked to do, and its command line. Pure."""

import argparse
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from loadtest.access import Access, add_access
from loadtest.profiles import PROFILES, Profile, constant

JOURNEYS = ("all", "home")
MASTER_PORT = 5557


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan(Access):
    """What every worker of a run has to know."""

    ranking: str
    """host:port."""
    ingest: str | None
    """host:port; None: no events are written and freshness is not probed."""
    profile: str
    constant_seconds: float | None
    """How long the rate stands still where it does; `profile` is `constant` then."""
    visits_per_second: float
    """The base rate, of all workers together."""
    environment: str
    seed: int
    workers: int
    bundle: str | None
    """Folder or pointer; None: nobody visits but strangers, who see what they are shown."""
    data: str | None
    cache: str
    """Folder where adapters keep prepared copies of it."""
    journeys: str
    timeout_seconds: float
    connections: int
    """Of each worker to the ranking service: the processes behind one port share connections, not calls."""

    def rates(self) -> Profile:
        """The profile itself."""
        return PROFILES[self.profile] if self.constant_seconds is None else constant(self.constant_seconds)


@dataclass(frozen=True, kw_only=True, slots=True)
class Conducting:
    """What only the process that conducts has to know."""

    plan: Plan
    out: Path
    """The run's folder."""
    remote_workers: int
    """How many workers of other machines to wait for."""
    master_port: int
    web_ui: int | None
    """Port of Locust's pages."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Working:
    """What a worker has to know before it is told the plan."""

    master_host: str
    master_port: int


def read_options(arguments: Sequence[str] | None = None) -> Conducting | Working:
    """The command line; ends the process with status 2 where it is wrong."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.worker:
        return Working(master_host=options.master_host, master_port=options.master_port)
    for name in ("ranking", "out"):
        if getattr(options, name) is None:
            parser.error(f"--{name} is required")
    if options.rate_seconds is None and options.visits_per_second is None:
        parser.error("--visits-per-second is required with a profile")
    if options.workers + options.remote_workers == 0:
        parser.error("--workers: no workers at all")
    if options.bundle == "none" and options.journeys != "home":
        parser.error(f"--journeys {options.journeys} needs a --bundle")
    rate, seconds = options.rate_seconds or (options.visits_per_second, None)
    plan = Plan(
        ranking=options.ranking,
        ingest=_unless_none(options.ingest),
        profile=options.profile if seconds is None else "constant",
        constant_seconds=seconds,
        visits_per_second=rate,
        environment=options.environment,
        seed=options.seed,
        workers=options.workers + options.remote_workers,
        bundle=_unless_none(options.bundle),
        data=_unless_none(options.data),
        cache=str(options.cache),
        journeys=options.journeys,
        timeout_seconds=options.timeout,
        connections=options.connections,
        **asdict(Access.of(options)),
    )
    return Conducting(
        plan=plan,
        out=options.out,
        remote_workers=options.remote_workers,
        master_port=options.master_port,
        web_ui=options.web_ui,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.generator", description="Visits a shop at a given rate.")
    add = parser.add_argument
    add("--ranking", metavar="HOST:PORT", help="the ranking service")
    add("--ingest", metavar="HOST:PORT", default="none", help="the ingest service; none: no events are written")
    add("--out", type=Path, metavar="FOLDER", help="where calls.parquet and run.json are written")
    rates = parser.add_mutually_exclusive_group()
    rates.add_argument("--profile", choices=sorted(PROFILES), default="smoke", help="how the rate changes with time")
    rates.add_argument("--rate-seconds", nargs=2, type=_positive, metavar=("RATE", "SECONDS"), help="a constant rate")
    add("--visits-per-second", type=_positive, metavar="RATE", help="the profile's base rate")
    add("--environment", default="local", help="name of the service levels")
    add("--journeys", choices=JOURNEYS, default="all", help="home: one list per visit")
    add(
        "--bundle",
        default="bundles/serving",
        metavar="DIR",
        help="whose items are visited; none: only with --journeys home",
    )
    add("--data", default="complete-journey", help="whose shoppers visit; none: shoppers that nobody knows")
    add("--cache", type=Path, default=Path("build/data"), metavar="DIR", help="prepared data (default %(default)s)")
    add("--timeout", type=_positive, default=0.5, metavar="SECONDS", help="of a call, retries included")
    add("--connections", type=_count, default=1, metavar="N", help="of each worker to the ranking service")
    add("--seed", type=int, default=0)
    add("--workers", type=_count, default=1, metavar="N", help="processes on this machine; 1: this one alone")
    add("--remote-workers", type=_count, default=0, metavar="N", help="workers of other machines to wait for")
    add("--web-ui", type=int, metavar="PORT", help="show Locust's pages there while the run lasts")
    add("--worker", action="store_true", help="be a worker: a master says what to do")
    add("--master-host", default="127.0.0.1", metavar="HOST")
    add("--master-port", type=int, default=MASTER_PORT, metavar="PORT", help="0: any, for workers of this machine")
    add_access(parser)
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: must be above 0 and finite")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text}: must be at least 0")
    return value


def _unless_none(text: str) -> str | None:
    return None if text == "none" else text
