"""Items as they stand while a bundle serves: new since, changed or deleted, and how they are written down.

Choices:
- JSON for people and other languages: the ITEMS columns by their names, and beside them `deleted`, `flags` and
  `revision`. The vector is not in it: it belongs to one bundle's text tower, the item to none.
- A live item always stands for the whole item, also where only its price has changed: what a bundle says of its columns
  no longer counts. Of a deleted one nothing but its id need be known.

Knows nothing of where the items are kept.
"""

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.schema import ITEMS

VECTOR_DTYPE = np.dtype("<f4")
"""How a vector is written: little-endian float32, one number after another."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveItem:
    """An item as it stands."""

    item_id: str
    title: str = ""
    description: str = ""
    category: tuple[str, ...] = ()
    """Path in the taxonomy, widest first."""
    brand: str | None = None
    price: float | None = None
    """In the shop's currency, finite, at least 0; None where it is not known."""
    attributes: tuple[tuple[str, str], ...] = ()
    """Pairs of name and value; a name may occur more than once."""
    in_stock: bool = True
    sensitive: bool = False
    deleted: bool = False
    """Out of every list."""
    flags: tuple[str, ...] = ()
    """Why a person should look at it before it is shown widely; as long as there are any it counts as sensitive."""
    revision: int = 0
    """Rises with every change."""
    vector: npt.NDArray[np.float32] | None = field(default=None, compare=False, repr=False)
    """float32 [D] of its text, by the text tower of the bundle that it is shown with. None: its text is the bundle's,
    whose vector goes on; or, for an item that the bundle lacks, that it has not been computed yet."""

    @property
    def is_hidden(self) -> bool:
        """Whether it counts as sensitive."""
        return self.sensitive or bool(self.flags)


def to_json(item: LiveItem) -> str:
    """The item without its vector, on one line."""
    return json.dumps(
        {
            **_columns(item),
            "deleted": item.deleted,
            "flags": list(item.flags),
            "revision": item.revision,
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )


def from_json(text: str | bytes) -> LiveItem:
    """Read what `to_json` wrote; what is missing takes its default, names that are not known are passed over.

    Raises:
        ValueError: it is not JSON, or not an item's; names the field.
    """
    found = json.loads(text)
    if not isinstance(found, dict) or not isinstance(found.get("item_id"), str) or not found["item_id"]:
        raise ValueError("item_id: is missing")
    try:
        return LiveItem(
            item_id=found["item_id"],
            title=_text(found, "title"),
            description=_text(found, "description"),
            category=tuple(map(str, found.get("category") or ())),
            brand=None if found.get("brand") is None else _text(found, "brand"),
            price=_price(found.get("price")),
            attributes=tuple((str(pair["key"]), str(pair["value"])) for pair in found.get("attributes") or ()),
            in_stock=bool(found.get("in_stock", True)),
            sensitive=bool(found.get("sensitive", False)),
            deleted=bool(found.get("deleted", False)),
            flags=tuple(map(str, found.get("flags") or ())),
            revision=int(found.get("revision", 0)),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{found['item_id']}: {error!r}") from error


def vector_to_bytes(vector: npt.NDArray[np.float32]) -> bytes:
    """A vector float32 [D] as it is written."""
    return vector.astype(VECTOR_DTYPE).tobytes()


def vector_from_bytes(written: bytes, width: int) -> npt.NDArray[np.float32]:
    """Read what `vector_to_bytes` wrote.

    Raises:
        ValueError: it is not `width` finite numbers.
    """
    if len(written) != width * VECTOR_DTYPE.itemsize:
        raise ValueError(f"vector: {len(written)} bytes, expected {width * VECTOR_DTYPE.itemsize}")
    vector: npt.NDArray[np.float32] = np.frombuffer(written, VECTOR_DTYPE).astype(np.float32)
    if not np.isfinite(vector).all():
        raise ValueError("vector: is not finite")
    return vector


def items_table(items: list[LiveItem]) -> pl.DataFrame:
    """The ITEMS table of live items, in order."""
    return pl.DataFrame([_columns(item) for item in items], schema=ITEMS, orient="row")


def _columns(item: LiveItem) -> dict[str, Any]:
    """The ITEMS columns."""
    return {
        "item_id": item.item_id,
        "title": item.title,
        "description": item.description,
        "category": list(item.category),
        "brand": item.brand,
        "price": item.price,
        "attributes": [{"key": key, "value": value} for key, value in item.attributes],
        "in_stock": item.in_stock,
        "sensitive": item.sensitive,
    }


def _text(found: dict[str, Any], name: str) -> str:
    value = found.get(name, "")
    if not isinstance(value, str):
        raise TypeError(f"{name}: {value!r} is not a text")
    return value


def _price(value: float | None) -> float | None:
    if value is None:
        return None
    price = float(value)
    if not (np.isfinite(price) and price >= 0):
        raise TypeError(f"price: {value!r} is not a finite price of at least 0")
    return price
