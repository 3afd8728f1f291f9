"""Columns of features as Feast's `Value` messages on the wire, without making the messages.

Choice: a column's list elements are encoded all at once as arrays, since messages are slower than all else of a row:
packed little-endian floats, packed varints, length-prefixed texts. The field numbers are asked of Feast's own messages,
and the bytes are those that protobuf would write.

Knows nothing of keys, of Redis, nor of which features there are.
"""

from typing import Any

import numpy as np
import polars as pl
from feast.protos.feast.types.Value_pb2 import Value
from numpy.typing import NDArray

from features import spec

_SCALARS: dict[spec.DType, str] = {"int64": "int64_val", "float32": "float_val", "string": "string_val"}
_LISTS: dict[spec.DType, str] = {
    "list[int64]": "int64_list_val",
    "list[float32]": "float_list_val",
    "list[string]": "string_list_val",
}
_DELIMITED = 2
"""Wire type of what has a length before it."""
_ELEMENTS = b"\x0a"
"""Tag of field 1, which holds a list message's elements."""

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]


def value_bytes(column: pl.Series, dtype: spec.DType) -> list[bytes]:
    """A column's values, each a serialized `Value`.

    Args:
        column: of the Polars type of `dtype`, without nulls.
        dtype: the feature's declared type.
    """
    if dtype in _SCALARS:
        field = _SCALARS[dtype]
        return [Value(**{field: value}).SerializeToString() for value in column.to_list()]
    tag = _varint(Value.DESCRIPTOR.fields_by_name[_LISTS[dtype]].number << 3 | _DELIMITED)
    lengths = column.list.len().to_numpy().astype(np.int64)
    elements = column.explode(empty_as_null=False)
    if dtype == "list[string]":
        data, widths = _texts(elements)
        inner = b""
    elif dtype == "list[int64]":
        data, widths = _varints(elements.to_numpy())
        inner = _ELEMENTS
    else:
        data, widths = elements.to_numpy().astype("<f4").view(np.uint8), np.full(len(elements), 4)
        inner = _ELEMENTS
    ends = np.concatenate(([0], np.cumsum(widths)))[np.cumsum(lengths)].tolist()
    buffer, start, values = data.tobytes(), 0, []
    for end in ends:
        body = buffer[start:end]
        if inner and body:
            body = inner + _varint(end - start) + body
        values.append(tag + _varint(len(body)) + body)
        start = end
    return values


def _varint(number: int) -> bytes:
    """A number of 0 or more, seven bits a byte, lowest first, the high bit set on all but the last."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _varints(numbers: NDArray[Any]) -> tuple[Bytes, Places]:
    """Varints one after another, and the bytes of each; negative numbers as 64 bits in two's complement."""
    rest = numbers.astype(np.int64).view(np.uint64)
    longest = max(1, -(-int(rest.max(initial=0)).bit_length() // 7))
    widths = np.ones(len(rest), np.int64)
    for shift in range(7, 7 * longest, 7):
        widths += rest >= np.uint64(1 << shift)
    groups = (rest[:, None] >> np.arange(0, 7 * longest, 7, dtype=np.uint64)).astype(np.uint8) | np.uint8(0x80)
    groups[np.arange(len(rest)), widths - 1] &= 0x7F
    return groups[np.arange(longest) < widths[:, None]], widths


def _texts(texts: pl.Series) -> tuple[Bytes, Places]:
    """Texts as repeated field 1 one after another, and the bytes of each."""
    sizes = texts.str.len_bytes().to_numpy().astype(np.int64)
    heads, head_widths = _varints(sizes)
    data = np.frombuffer(texts.str.join("").item().encode() if len(texts) else b"", np.uint8)
    widths = 1 + head_widths + sizes
    starts = np.cumsum(widths) - widths
    out = np.empty(int(widths.sum()), np.uint8)
    is_text = np.ones(len(out), np.bool_)
    is_text[starts] = False
    out[starts] = _ELEMENTS[0]
    head_starts = np.cumsum(head_widths) - head_widths
    places = np.repeat(starts + 1 - head_starts, head_widths) + np.arange(len(heads))
    is_text[places] = False
    out[places] = heads
    out[is_text] = data
    return out, widths
