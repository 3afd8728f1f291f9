"""Page tokens: the rest of a list, as the caller carries it to the next request.

A token holds what is left of the list itself. So the next page goes on with that very list, whatever the shopper has
done since, whichever process answers and whichever bundle it holds; and nothing is kept or computed again here.

Layout, little-endian: version (1 byte), crc32 of what follows (4), digest of the request (8), length of the
recommendation id (1), that id in UTF-8, then 15 bytes per item: its key (ordering.tie_keys), score, interest score and
source. URL-safe base64 without padding.
"""

import base64
import binascii
import hashlib
import zlib
from dataclasses import dataclass

import numpy as np
from aisle.v1 import recommendation_service_pb2 as messages

from services.common.errors import InvalidField
from services.ranking.ordering import OrderingModel, RankedList, Source

_VERSION = 1
_ENTRY = np.dtype([("key", "<u8"), ("score", "<f4"), ("interest", "<f2"), ("source", "u1")])
_DIGEST_BYTES = 8
_HEADER_BYTES = 5


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
    entries = np.empty(rest.rows.size, _ENTRY)
    entries["key"], entries["score"] = model.tie_keys[rest.rows], rest.scores
    entries["interest"], entries["source"] = rest.interest, rest.sources
    name = recommendation_id.encode()
    body = _digest(request) + bytes([len(name)]) + name + entries.tobytes()
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
    entries = np.frombuffer(body[end:], _ENTRY)
    rows = model.rows_of_keys(entries["key"])
    there = rows >= 0
    ranked = RankedList(
        rows[there],
        entries["score"][there].astype(np.float32),
        entries["interest"][there].astype(np.float32),
        entries["source"][there].astype(np.uint8),
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
    if len(body) < end or (len(body) - end) % _ENTRY.itemsize:
        return False
    return bool(np.isin(np.frombuffer(body[end:], _ENTRY)["source"], list(Source)).all())


def _digest(request: messages.RecommendRequest) -> bytes:
    """Of everything that must be as it was; what a field's default says is as if it were not given."""
    same = messages.RecommendRequest()
    same.CopyFrom(request)
    for free in ("page_token", "page_size", "validate_only"):
        same.ClearField(free)
    return hashlib.blake2b(same.SerializeToString(deterministic=True), digest_size=_DIGEST_BYTES).digest()
