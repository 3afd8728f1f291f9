"""The spec's values as Feast's messages and back.

Knows nothing of views, nor of where rows are kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import FloatList, Int64List, StringList, Value

from features import spec
from features.offline import EntityName


@dataclass(frozen=True, slots=True)
class _Type:
    """How Feast's Value message carries one of the spec's types."""

    field: str
    message: type[Any] | None = None
    """The list message; None for a scalar."""
    numpy: type[np.generic] | None = None
    """Element type of the array read back; None for scalars and for text, which stay Python objects."""


_TYPES: dict[spec.DType, _Type] = {
    "int64": _Type("int64_val"),
    "float32": _Type("float_val"),
    "string": _Type("string_val"),
    "list[int64]": _Type("int64_list_val", Int64List, np.int64),
    "list[float32]": _Type("float_list_val", FloatList, np.float32),
    "list[string]": _Type("string_list_val", StringList),
}


def entity_key(entity: EntityName, name: str) -> EntityKey:
    """A shopper's or an item's key."""
    return EntityKey(join_keys=[f"{entity}_id"], entity_values=[Value(string_val=name)])


def values_of(dtype: spec.DType, values: list[Any]) -> list[Value]:
    """A column's values as messages. Args: values: Python's own."""
    kind = _TYPES[dtype]
    if kind.message is None:
        return [Value(**{kind.field: value}) for value in values]
    return [Value(**{kind.field: kind.message(val=value)}) for value in values]


def decode(features: Sequence[spec.Feature], values: Mapping[str, Value] | None) -> dict[str, object] | None:
    """Feast's answer for one key as plain values; None for an unknown key, whose values all come unset."""
    if values is None or values[features[0].name].WhichOneof("val") is None:
        return None
    row: dict[str, object] = {}
    for feature in features:
        kind = _TYPES[feature.dtype]
        value = getattr(values[feature.name], kind.field)
        if kind.message is not None:
            value = value.val[:] if kind.numpy is None else np.array(value.val[:], dtype=kind.numpy)
        row[feature.name] = value
    return row
