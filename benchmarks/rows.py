"""What a comparison writes down: one row per figure, in build/bench.json."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One measured figure, both sides of it from the same run."""

    name: str
    """Begins with `ranking.`, `retrieval.`, `features.`, `triton.`, `ingest.` or `training.`."""
    value: float
    """How many times better Aisle is by `measure`: above 1 it is ahead."""
    bound: str
    """What is promised of the value, in words and figures."""
    met: bool
    ours: float
    theirs: float
    """Both sides, in `unit`."""
    unit: str
    rival: str
    """What the other side is, with its version."""
    method: str
    """A sentence or two: what was done on both sides, how often, what is equal."""
    reason: str = ""
    """Where Aisle is not ahead: why not."""
