"""What is done to a deployment during a run, written as `kind:part@seconds[+seconds]`.

    kill:triton@20+8        ended at second 20, started again at 28; without `+8` it stays away until the run is over
    stall:valkey@40+5       held still from second 40 to 45: connections stay open, and nothing answers
    kill:ranking-worker@30  one of several ranking processes on one port; its supervisor starts another
    swap:bundle@60          another bundle is promoted; the first is promoted again when the run is over, or at `+`

Seconds count from the begin of the run. Knows no process: a `Deployment` does what is asked.
"""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from loadtest.recording import Mark

PARTS = {
    "kill": ("triton", "valkey", "retrieval", "ranking", "ranking-worker", "ingest", "updater"),
    "stall": ("triton", "valkey", "retrieval", "ranking", "ranking-worker", "ingest", "updater"),
    "swap": ("bundle",),
}
"""Kind → what it may be done to."""
WORKER = "ranking-worker"
_FORM = "kind:part@seconds[+seconds]"
_POLL_SECONDS = 0.02


class FaultError(ValueError):
    """A fault that cannot be understood, or cannot be done to this deployment; names the fault and the word."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing to do."""

    kind: str
    part: str
    at_s: float
    for_s: float | None
    """How long until it is undone; None: until the run is over."""

    def __str__(self) -> str:
        """As it is written."""
        length = "" if self.for_s is None else f"+{self.for_s:g}"
        return f"{self.kind}:{self.part}@{self.at_s:g}{length}"

    @property
    def what(self) -> str:
        """In words, for the report."""
        return f"{self.kind} {self.part}"

    @property
    def is_over_at_once(self) -> bool:
        """Whether a supervisor undoes it, while others go on: what is left is how long shoppers noticed."""
        return (self.kind, self.part) == ("kill", WORKER)

    @property
    def until_s(self) -> float:
        """When it is undone, as planned."""
        return float("inf") if self.for_s is None else self.at_s + self.for_s


class Deployment(Protocol):
    """What faults are done to."""

    def check(self, fault: Fault) -> None:
        """Say beforehand that it could not be done.

        Raises:
            FaultError: naming the fault and what is missing.
        """

    def do(self, fault: Fault) -> None:
        """Do it; returns when it is done."""

    def undo(self, fault: Fault) -> None:
        """Start the part again, let it go on, promote the first bundle; returns when the part says that it is ready."""

    def mend(self, fault: Fault) -> None:
        """The same once the run is over: only what must not stay as it is."""


def parse_fault(text: str) -> Fault:
    """A fault from its written form.

    Raises:
        FaultError: names the word that is wrong.
    """
    form = re.fullmatch(r"([^:@+]*):([^:@+]*)@([^:@+]*)(?:\+([^:@+]*))?", text)
    if form is None:
        raise FaultError(f"fault {text!r}: write {_FORM}, for instance kill:triton@20+8")
    kind, part, at, length = form.groups()
    if kind not in PARTS:
        raise FaultError(f"fault {text!r}: {kind!r} is none of {', '.join(PARTS)}")
    if part not in PARTS[kind]:
        raise FaultError(f"fault {text!r}: {part!r} is none of {', '.join(PARTS[kind])}")
    for_s = None if length is None else _seconds(text, length)
    if kind == "stall" and for_s is None:
        raise FaultError(f"fault {text!r}: say how long, for instance {text}+5")
    if kind == "kill" and part == WORKER and for_s is not None:
        raise FaultError(f"fault {text!r}: its supervisor starts another at once: leave out '+{length}'")
    if for_s == 0:
        raise FaultError(f"fault {text!r}: '+{length}' is no time at all")
    return Fault(kind, part, _seconds(text, at), for_s)


def check_faults(faults: Sequence[Fault], run_seconds: float, deployment: Deployment | None) -> None:
    """Whether all of them can be done in a run of so many seconds.

    Raises:
        FaultError: one begins after the run, meets another at the same part, or cannot be done to the deployment.
    """
    ordered = sorted(faults, key=lambda fault: fault.at_s)
    for place, fault in enumerate(ordered):
        if fault.at_s >= run_seconds:
            raise FaultError(f"fault {str(fault)!r}: the run is over after {run_seconds:g} seconds")
        if met := next((other for other in ordered[:place] if _meet(other, fault)), None):
            raise FaultError(f"fault {str(fault)!r}: {str(met)!r} is not over by then")
        if deployment is None:
            raise FaultError(f"fault {str(fault)!r}: nothing is known of the target's processes")
        deployment.check(fault)


def _meet(earlier: Fault, later: Fault) -> bool:
    """Whether the later one is done to what the earlier one still holds."""
    if earlier.is_over_at_once:
        return False
    same = earlier.part == later.part or {earlier.part, later.part} == {"ranking", WORKER}
    return same and earlier.until_s > later.at_s


def carry_out(
    faults: Sequence[Fault], deployment: Deployment, seconds: Callable[[], float], over: Callable[[], bool]
) -> list[Mark]:
    """Do all faults at their times, and undo them whatever happens.

    Args:
        faults: Checked before.
        deployment: What they are done to.
        seconds: The run's clock.
        over: Whether the run has ended: what has not begun by then is left out.

    Returns:
        A mark per fault that was done, in the order of their ends; with the times at which it really was.
    """
    steps = [(fault.at_s, False, fault) for fault in faults]
    steps += [(fault.until_s, True, fault) for fault in faults if fault.for_s is not None]
    begun, marks = dict[Fault, float](), list[Mark]()
    try:
        for due, is_end, fault in sorted(steps, key=lambda step: step[:2]):
            if not _wait(due, seconds, over):
                break
            at_s = seconds()
            if is_end:
                deployment.undo(fault)
                marks += _marks(fault, begun.pop(fault), at_s, seconds())
            else:
                begun[fault] = at_s
                deployment.do(fault)
                if fault.is_over_at_once:
                    marks.append(Mark(at_s=begun.pop(fault), until_s=seconds(), what=fault.what))
        while begun and not over():
            time.sleep(_POLL_SECONDS)
    finally:
        for fault, at_s in begun.items():
            ended = seconds()
            deployment.mend(fault)
            marks += _marks(fault, at_s, ended, ended)[:1]
    return marks


def _marks(fault: Fault, at_s: float, undone_s: float, ready_s: float) -> list[Mark]:
    """What a fault is in the report: one thing with an end, or two promotions of which each is done at once."""
    if fault.kind == "swap":
        return [Mark(at_s=moment, until_s=moment, what=fault.what) for moment in (at_s, undone_s)]
    return [Mark(at_s=at_s, until_s=ready_s, what=fault.what)]


def _wait(due: float, seconds: Callable[[], float], over: Callable[[], bool]) -> bool:
    """Until the run's clock says `due`; False when the run has ended before."""
    while (left := due - seconds()) > 0:
        if over():
            return False
        time.sleep(min(left, _POLL_SECONDS))
    return not over()


def _seconds(text: str, word: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?", word):
        raise FaultError(f"fault {text!r}: {word!r} is no number of seconds")
    return float(word)
