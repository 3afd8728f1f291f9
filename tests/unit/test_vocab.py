"""Ids and rows are each other's inverse, and what is not here says so."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.vocab import Vocabulary


def test_rows_are_the_positions_of_the_ids_and_a_stranger_has_none() -> None:
    vocabulary = Vocabulary(["OAT-MILK", "RYE-BREAD"])
    rows = vocabulary.rows(["RYE-BREAD", "TEA", "OAT-MILK", "RYE-BREAD"])
    assert rows.dtype == np.int32
    assert rows.tolist() == [1, -1, 0, 1]
    assert len(vocabulary) == 2


@given(st.lists(st.text(max_size=5), unique=True), st.lists(st.text(max_size=5)))
def test_names_undo_rows_and_every_id_that_is_not_listed_is_minus_one(ids: list[str], asked: list[str]) -> None:
    vocabulary = Vocabulary(ids)
    assert vocabulary.names(vocabulary.rows(ids)) == ids
    assert vocabulary.rows(asked).tolist() == [ids.index(name) if name in ids else -1 for name in asked]


def test_ids_may_come_as_a_column_or_an_array() -> None:
    vocabulary = Vocabulary(pl.Series(["OAT-MILK", "RYE-BREAD"]))
    assert vocabulary.ids == ["OAT-MILK", "RYE-BREAD"]
    assert vocabulary.rows(np.array(["RYE-BREAD"], dtype=object)).tolist() == [1]  # type: ignore[arg-type]


def test_nothing_asked_is_nothing_answered() -> None:
    vocabulary = Vocabulary([])
    assert len(vocabulary) == 0
    assert vocabulary.rows([]).tolist() == []
    assert vocabulary.names(np.empty(0, np.int32)) == []


def test_an_id_that_occurs_twice_is_named_with_both_rows() -> None:
    with pytest.raises(ValueError, match="id 'OAT-MILK' occurs twice, at rows 0 and 2"):
        Vocabulary(["OAT-MILK", "RYE-BREAD", "OAT-MILK"])


@pytest.mark.parametrize("row", [-1, 2])
def test_what_is_not_a_row_has_no_name(row: int) -> None:
    with pytest.raises(IndexError):
        Vocabulary(["OAT-MILK", "RYE-BREAD"]).names(np.array([0, row], np.int32))
