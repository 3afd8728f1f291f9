"""Page tokens of an export, and the audit log: what they say, and what they never say."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import InvalidField
from services.ingest.privacy.audit import FILE, AuditLog
from services.ingest.privacy.tokens import Place, page_token, place_of

NOW = datetime(2026, 5, 1, tzinfo=UTC)
IDS = ("ada", "visitor-1")


@given(st.integers(-(2**63), 2**63 - 1), st.text(max_size=128))
def test_a_token_says_the_place_that_it_was_made_of(time_us: int, event_id: str) -> None:
    place = Place(time_us, event_id)
    assert place_of(IDS, page_token(IDS, place)) == place


@given(st.text(max_size=200))
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(InvalidField, match="page_token"):
        place_of(IDS, text)


def test_a_token_of_another_shopper_or_with_a_changed_letter_is_refused() -> None:
    token = page_token(IDS, Place(5, "event-1"))
    for ids in (("ada",), ("adavisitor-1",), ("visitor-1", "ada"), ("ada", "visitor-1", "")):
        with pytest.raises(InvalidField, match="other fields"):
            place_of(ids, token)
    for position, letter in enumerate(token):
        changed = token[:position] + ("A" if letter != "A" else "B") + token[position + 1 :]
        if position < len(token) - 1:  # the last letter's low bits say nothing
            with pytest.raises(InvalidField, match="page_token"):
                place_of(IDS, changed)


def test_audit_lines_are_appended_and_a_broken_one_spoils_no_other(tmp_path: Path) -> None:
    log, path = AuditLog(tmp_path / "live"), tmp_path / "live" / FILE
    log.append(NOW, "export", ["digest"], {"events": 3})
    with path.open("ab") as file:
        file.write(b'{"time": "cut sh')
    log.append(NOW, "purge", ["digest"], {"removed": {"stream": 1}})
    first, broken, last = path.read_text().splitlines()
    assert json.loads(first) == {"time": NOW.isoformat(), "action": "export", "shopper": ["digest"], "events": 3}
    assert broken == '{"time": "cut sh'
    assert json.loads(last)["action"] == "purge"
    assert path.stat().st_mode & 0o777 == 0o600
