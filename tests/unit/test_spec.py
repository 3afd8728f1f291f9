"""The feature list is consistent with itself, and its fingerprint notices every change."""

import re
from dataclasses import replace
from typing import Any

import pytest

from features import spec
from tests.frames import LIST_LENGTHS

ALL_FEATURES = (*spec.USER_FEATURES, *spec.ITEM_FEATURES, *spec.PAIR_FEATURES)
LIST_FEATURES = [feature for feature in spec.USER_FEATURES if feature.dtype.startswith("list[")]


def test_no_two_features_share_a_name() -> None:
    names = [feature.name for feature in ALL_FEATURES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("group", sorted({feature.name.split("_")[0] for feature in LIST_FEATURES}))
def test_list_features_of_a_group_are_led_by_ids_and_declared_parallel_to_them(group: str) -> None:
    leader, *others = [feature for feature in LIST_FEATURES if feature.name.startswith(f"{group}_")]
    assert leader.dtype == "list[string]"
    assert others, f"{leader.name} stands alone"
    assert [feature.unit.rpartition(", ")[2] for feature in others] == [f"as {leader.name}"] * len(others)


def test_every_group_of_list_features_has_a_longest_length() -> None:
    assert {feature.name.split("_")[0] for feature in LIST_FEATURES} == set(LIST_LENGTHS)


@pytest.mark.parametrize("feature", ALL_FEATURES, ids=lambda feature: feature.name)
def test_a_default_is_a_value_of_the_declared_type(feature: spec.Feature) -> None:
    scalars = {"int64": int, "float32": float, "string": str}
    assert type(feature.default) is scalars.get(feature.dtype, tuple)


def test_matrix_columns_are_the_item_features_then_the_pair_features() -> None:
    listed = [feature.name for feature in (*spec.ITEM_FEATURES, *spec.PAIR_FEATURES)]
    assert list(spec.MATRIX_COLUMNS) == listed


def test_every_question_to_the_tables_of_shoppers_is_a_column_and_they_stand_together() -> None:
    names = [f"i2i_{question}_{table}" for question, table in spec.I2I_FEATURES]
    assert set(spec.I2I_FEATURES) == {(q, t) for q in ("all", "latest") for t in ("lasting", "current")}
    assert {table for _, table in spec.I2I_FEATURES} < set(spec.I2I_TABLES)
    first = spec.MATRIX_COLUMNS.index(names[0])
    assert list(spec.MATRIX_COLUMNS[first : first + len(names)]) == names


def test_the_fingerprint_is_twelve_hex_digits_and_the_same_every_time() -> None:
    assert re.fullmatch("[0-9a-f]{12}", spec.fingerprint())
    assert spec.fingerprint() == spec.fingerprint()


@pytest.mark.parametrize(
    "change",
    [{"name": "other"}, {"dtype": "string"}, {"unit": "furlongs"}, {"default": 7}, {"freshness": "batch"}],
    ids=lambda change: next(iter(change)),
)
def test_the_fingerprint_changes_with_any_part_of_one_feature(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    before = spec.fingerprint()
    first, *others = spec.USER_FEATURES
    monkeypatch.setattr(spec, "USER_FEATURES", (replace(first, **change), *others))
    assert spec.fingerprint() != before


@pytest.mark.parametrize("features", ["USER_FEATURES", "ITEM_FEATURES", "PAIR_FEATURES"])
def test_the_fingerprint_changes_with_the_order_and_the_number_of_features(
    monkeypatch: pytest.MonkeyPatch, features: str
) -> None:
    listed = getattr(spec, features)
    seen = {spec.fingerprint()}
    for changed in (listed[::-1], listed[:-1]):
        monkeypatch.setattr(spec, features, changed)
        seen.add(spec.fingerprint())
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("constant", "value"),
    [
        ("HISTORY_LENGTH", 51),
        ("REPEAT_LENGTH", 255),
        ("LEAF_LENGTH", 1),
        ("CATEGORY_LENGTH", 1),
        ("HALF_LIFE_DAYS", 85.0),
        ("EVENT_CODES", {"view": 2}),
        ("EVENT_WEIGHTS", {"view": 1.0}),
    ],
)
def test_the_fingerprint_changes_with_every_constant_that_shapes_a_value(
    monkeypatch: pytest.MonkeyPatch, constant: str, value: object
) -> None:
    before = spec.fingerprint()
    monkeypatch.setattr(spec, constant, value)
    assert spec.fingerprint() != before
