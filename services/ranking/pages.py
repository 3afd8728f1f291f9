"""Page tokens: the rest of a list, as the caller carries it to the next request.

A token holds what is left of the list itself. So the next page goes on with that very list, whatever the shopper has
done since, whichever process answers and whichever bundle it holds; and nothing is kept or computed again here.

Layout, little-endian: version (1 byte), crc32 of what follows (4), digest of the request (8), length of the
recommendation id (1), that id in UTF-8, number of items (2), then 15 bytes per item: its key (ordering.tie_keys),
score, interest score and source; then the propensity (4) of each item that exploration drew. URL-safe base64 without
padding. A list that is longer than a token may be ends where the token does.
"""

import base64
import binascii
import hashlib
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from aisle.v1 import recommendation_service_pb2 as messages

from features.encode import Floats
from services.common.errors import InvalidField
from services.common.limits import PAGE_TOKEN_CHARACTERS_MAX
from services.ranking.ordering import OrderingModel, RankedList, Source

_VERSION = 2
_ENTRY = np.dtype([("key", "<u8"), ("score", "<f4"), ("interest", "<f2"), ("source", "u1")])
_DIGEST_BYTES = 8
_HEADER_BYTES = 5
_COUNT = np.dtype("<u2")
_PROPENSITY = np.dtype("<f4")
_FIXED_BYTES = _HEADER_BYTES + _DIGEST_BYTES + 1 + _COUNT.itemsize


@dataclass(frozen=True, slots=True)
class Continued:
    """What a token says."""

    recommendation_id: str
    """Of the list that goes on."""
    ranked: RankedList
    """What is left of it, without items that the catalogue no longer has."""


def page_token(
    model: OrderingModel, request: messages.RecommendRequest, recommendation_id: str, rest: RankedList
) -> str:
    """The token that continues a list; empty where nothing is left of it."""
    if not rest.rows.size:
        return ""
    name = recommendation_id.encode()
    rest = rest.head(_room_for(rest, PAGE_TOKEN_CHARACTERS_MAX * 3 // 4 - _FIXED_BYTES - len(name)))
    entries = np.empty(rest.rows.size, _ENTRY)
    entries["key"], entries["score"] = model.tie_keys[rest.rows], rest.scores
    entries["interest"], entries["source"] = rest.interest, rest.sources
    count = np.array(rest.rows.size, _COUNT).tobytes()
    body = _digest(request) + bytes([len(name)]) + name + count + entries.tobytes() + _propensities(rest)
    header = bytes([_VERSION]) + zlib.crc32(body).to_bytes(4, "little")
    return base64.urlsafe_b64encode(header + body).decode().rstrip("=")


def continued(model: OrderingModel, request: messages.RecommendRequest) -> Continued:
    """Read the request's token.

    Raises:
        InvalidField: it is none of this service's, or of another request.
    """
    body = _body(request.page_token)
    if body[:_DIGEST_BYTES] != _digest(request):
        raise InvalidField("page_token", "belongs to a request with other fields")
    end = _DIGEST_BYTES + 1 + body[_DIGEST_BYTES]
    entries, propensities = _entries(body[end:])
    rows = model.rows_of_keys(entries["key"])
    there = rows >= 0
    there[there] = model.facets.there(request.filter.allow_sensitive)[rows[there]]
    ranked = RankedList(
        rows[there],
        entries["score"][there].astype(np.float32),
        entries["interest"][there].astype(np.float32),
        entries["source"][there].astype(np.uint8),
        propensities[there] if (entries["source"] == Source.EXPLORATION).any() else None,
    )
    return Continued(body[_DIGEST_BYTES + 1 : end].decode(), ranked)


def _body(token: str) -> bytes:
    try:
        whole = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        whole = b""
    body = whole[_HEADER_BYTES:]
    if whole[:_HEADER_BYTES] != bytes([_VERSION]) + zlib.crc32(body).to_bytes(4, "little") or not _is_whole(body):
        raise InvalidField("page_token", "is not a token of this service")
    return body


def _is_whole(body: bytes) -> bool:
    """Whether a body with the right checksum, which a caller can compute, also has the right parts."""
    if len(body) <= _DIGEST_BYTES:
        return False
    end = _DIGEST_BYTES + 1 + body[_DIGEST_BYTES]
    try:
        body[_DIGEST_BYTES + 1 : end].decode()
    except UnicodeDecodeError:
        return False
    try:
        entries, _ = _entries(body[end:])
    except ValueError:
        return False
    return bool(np.isin(entries["source"], list(Source)).all())


def _entries(written: bytes) -> tuple[npt.NDArray[np.void], Floats]:
    """The entries [n] and the propensity of each, float32 [n]; NaN where it was not drawn.

    Raises:
        ValueError: there are more or fewer bytes than they take.
    """
    count = int(np.frombuffer(written, _COUNT, 1)[0])
    entries = np.frombuffer(written, _ENTRY, count, _COUNT.itemsize)
    drawn = np.flatnonzero(entries["source"] == Source.EXPLORATION)
    known = np.frombuffer(written[_COUNT.itemsize + entries.nbytes :], _PROPENSITY)
    if known.size != drawn.size:
        raise ValueError(f"{drawn.size} items were drawn, {known.size} propensities are there")
    propensities = np.full(count, np.nan, np.float32)
    propensities[drawn] = known
    return entries, propensities


def _propensities(rest: RankedList) -> bytes:
    """Those of the items that exploration drew."""
    drawn = rest.sources == Source.EXPLORATION
    known = np.full(rest.rows.size, np.nan, np.float32) if rest.propensities is None else rest.propensities
    written: bytes = known[drawn].astype(_PROPENSITY).tobytes()
    return written


def _room_for(rest: RankedList, room_bytes: int) -> int:
    """How many items of the list take no more than so many bytes."""
    sizes = _ENTRY.itemsize + _PROPENSITY.itemsize * (rest.sources == Source.EXPLORATION)
    return int(np.searchsorted(np.cumsum(sizes), room_bytes, side="right"))


def _digest(request: messages.RecommendRequest) -> bytes:
    """Of everything that must be as it was; what a field's default says is as if it were not given."""
    same = messages.RecommendRequest()
    same.CopyFrom(request)
    for free in ("page_token", "page_size", "validate_only"):
        same.ClearField(free)
    return hashlib.blake2b(same.SerializeToString(deterministic=True), digest_size=_DIGEST_BYTES).digest()
