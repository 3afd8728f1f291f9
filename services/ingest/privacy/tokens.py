"""Page tokens of an export: after which event the next page begins.

A token says the event, not a count: events that come in meanwhile neither repeat nor hide others. One that happened
before what was handed out already is in the next export only.

Layout, little-endian: version (1 byte), crc32 of what follows (4), digest of the shopper (8), time of the event in
microseconds (8, signed), the event's id in UTF-8. URL-safe base64 without padding.
"""

import base64
import binascii
import hashlib
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from services.common.errors import InvalidField

_VERSION = 2
"""Not that of ranking's tokens."""
_HEADER_BYTES = 5
_DIGEST_BYTES = 8
_TIME_BYTES = 8


class Place(NamedTuple):
    """Where an event stands among a shopper's; they compare as they are handed out."""

    time_us: int
    """When it happened, microseconds since 1970."""
    event_id: str


def page_token(ids: Sequence[str], place: Place) -> str:
    """The token of what comes after a place, for a shopper of these ids."""
    time = place.time_us.to_bytes(_TIME_BYTES, "little", signed=True)
    body = _digest(ids) + time + place.event_id.encode("utf-8", errors="surrogatepass")
    header = bytes([_VERSION]) + zlib.crc32(body).to_bytes(4, "little")
    return base64.urlsafe_b64encode(header + body).decode().rstrip("=")


def place_of(ids: Sequence[str], token: str) -> Place:
    """The place that a token says.

    Raises:
        InvalidField: it is none of an export's, or of another shopper's.
    """
    try:
        whole = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        whole = b""
    header, body = whole[:_HEADER_BYTES], whole[_HEADER_BYTES:]
    start, end = _DIGEST_BYTES, _DIGEST_BYTES + _TIME_BYTES
    if header != bytes([_VERSION]) + zlib.crc32(body).to_bytes(4, "little") or len(body) < end:
        raise InvalidField("page_token", "is not a token of this service")
    if body[:start] != _digest(ids):
        raise InvalidField("page_token", "belongs to a request with other fields")
    try:
        event_id = body[end:].decode("utf-8", errors="surrogatepass")
    except UnicodeDecodeError:
        raise InvalidField("page_token", "is not a token of this service") from None
    return Place(int.from_bytes(body[start:end], "little", signed=True), event_id)


def _digest(ids: Sequence[str]) -> bytes:
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for name in ids:
        encoded = name.encode("utf-8", errors="surrogatepass")
        digest.update(len(encoded).to_bytes(4, "little") + encoded)
    return digest.digest()
