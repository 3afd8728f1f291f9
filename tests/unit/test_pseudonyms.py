"""Pseudonyms: the same for the same id and key, another for anything else."""

import hashlib
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.pseudonyms import MARK, pseudonym, read_key, with_pseudonyms
from tests.logged import logged, logged_row
from tests.strategies import texts

KEY = bytes(range(32))


def test_a_pseudonym_is_the_keyed_hash_behind_the_mark() -> None:
    assert pseudonym(KEY, "ada") == MARK + hashlib.blake2b(b"ada", key=KEY, digest_size=16).hexdigest()


@given(st.text(max_size=20), st.text(max_size=20))
def test_two_ids_share_a_pseudonym_only_when_they_are_the_same(one: str, other: str) -> None:
    assert (pseudonym(KEY, one) == pseudonym(KEY, other)) == (one == other)


def test_another_key_makes_another_pseudonym_and_a_pseudonym_is_an_id_like_any_other() -> None:
    once = pseudonym(KEY, "ada")
    assert pseudonym(KEY[:16], "ada") != once
    assert pseudonym(KEY, once) != once


@pytest.mark.parametrize("length", [0, 15, 65])
def test_a_key_of_the_wrong_length_is_refused_without_being_shown(length: int) -> None:
    with pytest.raises(ValueError, match=f"^key: {length} bytes, not 16 to 64$"):
        pseudonym(b"k" * length, "ada")


def test_a_key_is_read_without_the_line_break_that_an_editor_adds(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"k" * 16 + b"\n")
    assert read_key(file) == b"k" * 16
    file.write_bytes(b"k" * 15 + b"\n")
    with pytest.raises(ValueError, match=f"^{file}: key: 15 bytes, not 16 to 64$"):
        read_key(file)


@given(st.lists(st.tuples(st.none() | texts, st.none() | texts), min_size=1, max_size=5))
def test_a_frame_loses_every_id_and_nothing_else(people: list[tuple[str | None, str | None]]) -> None:
    rows = [logged_row(f"{at}-0", user_id=user, visitor_id=visitor) for at, (user, visitor) in enumerate(people)]
    frame = logged(*rows)
    hidden = with_pseudonyms(frame, KEY)
    expected = [tuple(pseudonym(KEY, name) if name else name for name in row) for row in people]
    assert hidden.select("user_id", "visitor_id").rows() == expected
    ids = ["user_id", "visitor_id", "session_id"]
    assert hidden.drop(ids).equals(frame.drop(ids))
    assert hidden.schema == frame.schema


def test_sessions_are_hidden_too_and_a_frame_may_have_only_some_of_the_columns() -> None:
    frame = pl.DataFrame({"session_id": ["visit", None, "visit"], "item_id": ["visit", "cup", "cup"]})
    hidden = pseudonym(KEY, "visit")
    assert with_pseudonyms(frame, KEY).rows() == [(hidden, "visit"), (None, "cup"), (hidden, "cup")]
