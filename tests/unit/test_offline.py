"""A table of features is checked before it is written anywhere."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import polars as pl
import pytest

from features.offline import check_table, utc
from tests.frames import random_item_frame, random_user_frame


@pytest.fixture
def users() -> pl.DataFrame:
    return random_user_frame(3, np.random.default_rng(1))


def test_a_table_made_from_the_spec_passes_and_further_columns_may_stand_beside_it(users: pl.DataFrame) -> None:
    check_table(users.with_columns(pl.lit(1).alias("note")), "user")
    check_table(random_item_frame(3, np.random.default_rng(1)), "item")


def test_a_missing_column_is_named(users: pl.DataFrame) -> None:
    with pytest.raises(
        ValueError, match=r"user features: column repeat_counts should be List\(Float32\) and is missing"
    ):
        check_table(users.drop("repeat_counts"), "user")


def test_a_missing_id_is_named() -> None:
    with pytest.raises(ValueError, match="item features: column item_id"):
        check_table(random_item_frame(3, np.random.default_rng(1)).drop("item_id"), "item")


def test_a_column_of_another_type_is_named_with_both_types(users: pl.DataFrame) -> None:
    with pytest.raises(ValueError, match="column event_count should be Int64 and is Float64"):
        check_table(users.cast({"event_count": pl.Float64}), "user")


def test_a_column_with_a_null_is_named(users: pl.DataFrame) -> None:
    holed = users.with_columns(pl.when(pl.int_range(pl.len()) > 0).then("leaf_names").alias("leaf_names"))
    with pytest.raises(ValueError, match="column leaf_names has nulls"):
        check_table(holed, "user")


def test_an_instant_is_brought_to_utc_and_one_without_time_zone_refused() -> None:
    noon = datetime(2017, 12, 30, 12, tzinfo=timezone(timedelta(hours=2)))
    assert utc(noon) == datetime(2017, 12, 30, 10, tzinfo=UTC)
    assert utc(noon).tzinfo is UTC
    with pytest.raises(ValueError, match="no time zone"):
        utc(noon.replace(tzinfo=None))
