"""Side files of rejected rows, and whom their lines are about.

Choice: a rejected row keeps its original (validation.py) as JSON, which says whose it is, or as plain text where nobody
could take it apart: there an id is only found by who knows it.

Knows nothing of what makes a row bad, nor of who is to be forgotten.
"""

import json
import re
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from features.atomic import write_atomically
from features.schema import SchemaError

SUFFIX = ".rejects.jsonl"
"""What the name of a side file ends with."""
SHOPPER_COLUMNS = ("user_id", "visitor_id")
"""The columns that name shoppers, in side files as in tables."""


def lines_of(path: Path) -> Iterator[str]:
    """A side file's lines, with their ends.

    Raises:
        SchemaError: It ends within a character, or is no text at all; names it.
        FileNotFoundError: It is gone.
    """
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            yield from file
    except UnicodeDecodeError as error:
        raise SchemaError(f"{path}: cannot be read: {error}") from error


def remove_lines(path: Path, names: Collection[str]) -> int:
    """Take the lines about some shoppers out of a side file; how many there were.

    Whoever calls this holds what keeps others from doing the same (features/left_out.py, `rewriting`).
    """
    lines = list(lines_of(path))
    kept = [line for line in lines if not names_one(line, names)]
    if len(kept) < len(lines):
        write_atomically(path, partial(Path.write_text, data="".join(kept), encoding="utf-8"))
    return len(lines) - len(kept)


def names_one(line: str, names: Collection[str]) -> bool:
    """Whether a line is about one of some shoppers."""
    if not any(name in line or json.dumps(name)[1:-1] in line for name in names):
        return False
    original, inner = _original(line)
    if isinstance(inner, dict):
        return any(str(inner.get(column)) in names for column in SHOPPER_COLUMNS)
    return any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", original) for name in names)


def ids_of(line: str) -> set[str]:
    """The shoppers' ids in a line; none where its row could not be taken apart."""
    _, inner = _original(line)
    found = [inner.get(column) for column in SHOPPER_COLUMNS] if isinstance(inner, dict) else []
    return {str(name) for name in found if name is not None}


def _original(line: str) -> tuple[str, Any]:
    """The rejected row as text and, where it is JSON, as that."""
    row = _json(line)
    original = row.get("original") if isinstance(row, dict) else None
    return (original, _json(original)) if isinstance(original, str) else (line, row)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
