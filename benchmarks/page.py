"""Comparisons as one page of Markdown: a table that fits a README, then how each figure was taken.

A row that is not ahead and gives no reason makes no page. Knows nothing of how anything is measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.rows import Row, checked


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOfBench:
    """What the rows of a page have in common."""

    measured: str
    """ISO 8601, UTC."""
    machine: str
    seconds: dict[str, float]
    """Group → how long it took."""

    @property
    def total_seconds(self) -> float:
        """Of all groups."""
        return sum(self.seconds.values())


def page(rows: Sequence[Row], run: RunOfBench) -> str:
    """The whole page.

    Raises:
        ValueError: see `rows.checked`.
    """
    behind = [row for row in checked(rows) if not row.ahead]
    took = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in run.seconds.items())
    told = f"{len(rows) - len(behind)} of {len(rows)} rows ahead" + (
        f"; {len(behind)} not ahead, each with its reason." if behind else "."
    )
    parts = [
        "# Aisle beside other ways of doing the same",
        f"{told} Measured {run.measured} on {run.machine}; {took}.",
        "Both sides of a row ran in turns in one run, after a warm-up. *Times better* is the median of the rounds' "
        "ratios with its 95 % interval; above 1 Aisle is ahead.",
        table(rows),
        "## Not ahead, and why" if behind else "",
        "\n".join(f"- **{row.name}** ({times(row)}): {row.reason}" for row in behind),
        "## How each was measured",
        "\n".join(f"- **{row.name}**: {row.method} Promised: {row.bound}; {_verdict(row)}." for row in rows),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(rows: Sequence[Row]) -> str:
    """A Markdown table, a line per row."""
    lines = ["| | Aisle | other | unit | times better | other is |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {row.name} | {row.ours:g} | {row.theirs:g} | {_cell(row.unit)} | {times(row)} | {_cell(row.rival)} |"
        for row in rows
    ]
    return "\n".join(lines)


def times(row: Row) -> str:
    """How many times better, with its interval: `**2.1** [1.9, 2.3]`, in bold where Aisle is ahead."""
    value = f"**{row.value:.3g}**" if row.ahead else f"{row.value:.3g}"
    return value + (f" [{row.interval[0]:.3g}, {row.interval[1]:.3g}]" if row.interval else "")


def _verdict(row: Row) -> str:
    return "met" if row.met else "not met"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
