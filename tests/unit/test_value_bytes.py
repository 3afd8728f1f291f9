"""Bytes of values are those that protobuf writes for Feast's messages."""

from typing import Any

import polars as pl
import pytest
from feast.protos.feast.types.Value_pb2 import FloatList, Int64List, StringList, Value
from hypothesis import given
from hypothesis import strategies as st

from features import spec
from features.offline import polars_type
from features.value_bytes import value_bytes

INT64 = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 63).map(lambda bits: 2**bits - 1)
FLOAT32 = st.floats(width=32)
TEXT = st.text(max_size=5) | st.sampled_from(["x" * 127, "x" * 128, "ñ" * 9000])
ELEMENTS: dict[str, st.SearchStrategy[Any]] = {"int64": INT64, "float32": FLOAT32, "string": TEXT}


def by_protobuf(dtype: spec.DType, value: Any) -> bytes:
    """The same value through Feast's message."""
    made = {
        "int64": lambda: Value(int64_val=value),
        "float32": lambda: Value(float_val=value),
        "string": lambda: Value(string_val=value),
        "list[int64]": lambda: Value(int64_list_val=Int64List(val=value)),
        "list[float32]": lambda: Value(float_list_val=FloatList(val=value)),
        "list[string]": lambda: Value(string_list_val=StringList(val=value)),
    }
    return made[dtype]().SerializeToString()


@pytest.mark.parametrize("dtype", ["int64", "float32", "string"])
@given(data=st.data())
def test_scalars(dtype: Any, data: st.DataObject) -> None:
    values = data.draw(st.lists(ELEMENTS[dtype], max_size=5))
    column = pl.Series(values, dtype=polars_type(dtype))
    assert value_bytes(column, dtype) == [by_protobuf(dtype, value) for value in values]


@pytest.mark.parametrize("dtype", ["int64", "float32", "string"])
@given(data=st.data())
def test_lists_of_every_length_down_to_none(dtype: Any, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.lists(ELEMENTS[dtype], max_size=40), max_size=5))
    of_lists: Any = f"list[{dtype}]"
    column = pl.Series(values, dtype=polars_type(of_lists))
    assert value_bytes(column, of_lists) == [by_protobuf(of_lists, value) for value in values]
