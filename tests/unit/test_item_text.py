"""An item's text is the same for a table and for a single item."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from features.item_text import item_text, item_text_column


@given(st.lists(st.tuples(st.text(min_size=1), st.text()), min_size=1))
def test_a_single_item_has_the_text_that_it_has_in_a_table(pairs: list[tuple[str, str]]) -> None:
    table = pl.DataFrame(pairs, schema={"title": pl.String, "description": pl.String}, orient="row")
    assert table.select(item_text_column())["text"].to_list() == [item_text(*pair) for pair in pairs]


def test_the_description_stands_behind_the_title_if_there_is_one() -> None:
    assert item_text("Rye bread", "Sliced.") == "Rye bread. Sliced."
    assert item_text("Rye bread", "") == "Rye bread"
