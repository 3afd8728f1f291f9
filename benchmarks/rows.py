"""What a comparison writes down: one row per figure, in build/bench.json."""

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One measured figure, both sides of it from the same run."""

    name: str
    """Begins with `ranking.`, `retrieval.`, `features.`, `triton.`, `ingest.` or `training.`."""
    value: float
    """How many times better Aisle is: above 1 it is ahead."""
    interval: tuple[float, float] | None = None
    """95 %, of the value; None where the figure does not vary between rounds (bytes)."""
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

    @property
    def ahead(self) -> bool:
        """Whether Aisle is the better one, beyond chance where there is an interval."""
        return self.value > 1.0 and (self.interval is None or self.interval[0] > 1.0)

    def without_reason(self) -> "Row":
        """The row of a figure that needs none."""
        return replace(self, reason="")


def checked(rows: Sequence[Row]) -> Sequence[Row]:
    """The rows, where each one can stand on the page.

    Raises:
        ValueError: there is none, a name stands twice, or a row that is not ahead does not say why; names the row.
    """
    if not rows:
        raise ValueError("no rows")
    names = [row.name for row in rows]
    for row in rows:
        if names.count(row.name) > 1:
            raise ValueError(f"{row.name}: stands twice")
        if not row.ahead and not row.reason.strip():
            raise ValueError(f"{row.name}: {row.value} times {row.rival} is not ahead, and the row gives no reason")
        if not row.method.strip() or not row.rival.strip():
            raise ValueError(f"{row.name}: method and rival must be told")
    return rows
