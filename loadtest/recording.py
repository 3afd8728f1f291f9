"""What a load test writes down, and nothing about what it means.

<run>/calls.parquet   CALLS: every call, and every probe of freshness
<run>/run.json        RunFacts
<run>/marks.json      Marks: what was done to the deployment meanwhile
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from features.atomic import write_atomically

CALLS = pl.Schema(
    {
        "due_s": pl.Float64(),
        "sent_s": pl.Float64(),
        "done_s": pl.Float64(),
        "method": pl.String(),
        "journey": pl.String(),
        "code": pl.String(),
        "degradations": pl.List(pl.String()),
        "stages": pl.List(pl.Struct({"stage": pl.String(), "ms": pl.Float64()})),
        "bundle": pl.String(),
        "worker": pl.String(),
    }
)
"""A call per row, in the order of their ends.

due_s, sent_s, done_s: seconds since the run began: when the arrival process wanted it, when it was sent, when it was
answered. What a caller waits is done - due: a call that the generator sent late was late for its shopper too.
method: `Recommend/HOME` (the rpc, and the placement in words of the shop), `WriteEvents`, `Rank`; FRESHNESS for a
probe, which is due when its click was acknowledged and done when a list shows it.
code: gRPC's name of the status, or what the shop made of the answer; OK and DEFERRED are no failures. degradations: as
the reply names them, without their prefix. stages: the reply's `stage_timings_ms`. bundle: the reply's version, null
where there is none. worker: which generator sent it.
"""

FRESHNESS = "freshness"
OK = "OK"
DEFERRED = "DEFERRED"
"""Events were not taken in, and sending them again is harmless and may help: they will be."""
LOST = "LOST"
"""An event that was given up: nobody took it in while the run lasted. A row of its own, due when it was given up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFacts:
    """What a run was, beside its calls."""

    environment: str
    """Name of the service levels: `local`."""
    profile: str
    target: str
    """host:port of the ranking service."""
    started: str
    """ISO 8601, UTC."""
    warm_up_seconds: float
    """Calls due before this are not judged."""
    seconds: float
    """From the first to the last arrival, warm-up included."""
    visits_per_second: float
    """Mean rate of arrivals after the warm-up, as it was meant."""
    seed: int
    workers: int
    generator_cpu_share: float
    """Of one core, 0 to 1, by the busiest worker in its busiest five seconds."""
    late_p99_ms: float
    """By how much calls were sent later than they were due, which is the generator's own doing; warm-up left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """Something that was done to the deployment."""

    at_s: float
    until_s: float
    """When what was done had been undone: the part started again, the stall lifted."""
    what: str
    """`kill triton`."""
    recovered_s: float | None = None
    """From `until_s` until the last reply that was the poorer for it; None where that is not known."""


def write_run(folder: Path, calls: pl.DataFrame, facts: RunFacts, marks: Sequence[Mark] = ()) -> None:
    """Write all three files.

    Raises:
        ValueError: `calls` is not CALLS.
    """
    if calls.schema != CALLS:
        raise ValueError(f"calls: found {dict(calls.schema)}, expected {dict(CALLS)}")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "calls.parquet", calls.write_parquet)
    (folder / "run.json").write_text(json.dumps(asdict(facts), indent=2) + "\n")
    write_marks(folder, marks)


def write_marks(folder: Path, marks: Sequence[Mark]) -> None:
    """Write marks.json alone."""
    (folder / "marks.json").write_text(json.dumps([asdict(mark) for mark in marks], indent=2) + "\n")


def read_run(folder: Path) -> tuple[pl.DataFrame, RunFacts, list[Mark]]:
    """What `write_run` wrote.

    Raises:
        FileNotFoundError: it is not whole; names the file.
    """
    facts = RunFacts(**json.loads((folder / "run.json").read_text()))
    marks = [Mark(**mark) for mark in json.loads((folder / "marks.json").read_text())]
    return pl.read_parquet(folder / "calls.parquet"), facts, marks
