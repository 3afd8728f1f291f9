"""What an acceptance run writes down: one row per measured figure, kept in build/accept-AREA.json."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """One measured figure against its bound."""

    name: str
    value: float | str | None
    bound: str
    """The bound in words and figures, as the area promises it."""
    met: bool | None
    """None where it could not be measured here; the value then says why."""


def at_most(name: str, value: float, bound: float) -> Row:
    """A figure that must not exceed its bound."""
    return Row(name, value, f"<= {bound:g}", value <= bound)


def at_least(name: str, value: float, bound: float) -> Row:
    """A figure that must reach its bound."""
    return Row(name, value, f">= {bound:g}", value >= bound)


def holds(name: str, *, value: bool) -> Row:
    """A statement that must be true."""
    return Row(name, str(value), "True", value)


def told(name: str, value: float | str) -> Row:
    """A figure that nothing was promised about."""
    return Row(name, value, "told", met=True)


class Ledger:
    """The rows of one area on disk: a line that is there already is not run again."""

    def __init__(self, path: Path) -> None:
        """Read what an earlier, interrupted run left."""
        self._path = path
        self.entries: list[dict[str, object]] = json.loads(path.read_text()) if path.exists() else []

    def has(self, line: int) -> bool:
        """Whether the line has been measured."""
        return any(entry["line"] == line for entry in self.entries)

    def record(self, line: int, rows: list[Row], seconds: float) -> None:
        """Replace the line's rows and write the file."""
        kept = [entry for entry in self.entries if entry["line"] != line]
        added = [{"line": line, **asdict(row), "seconds": round(seconds, 1)} for row in rows]
        self.entries = sorted([*kept, *added], key=lambda entry: int(str(entry["line"])))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self.entries, indent=2) + "\n")

    def unmet(self) -> list[str]:
        """Names of the rows that did not reach their bound."""
        return [str(entry["name"]) for entry in self.entries if entry["met"] is False]
