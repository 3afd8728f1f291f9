"""Cheap variations of requests that have been drawn before: each takes its chances from a numpy generator.

Choices: nothing here draws from hypothesis, whose engine takes milliseconds for an example; a hundred thousand requests
are some thousands of drawn ones, recombined and damaged. Same generator state, same result.
"""

import base64
import zlib
from typing import TypeVar

import numpy as np
from google.protobuf.message import Message

Request = TypeVar("Request", bound=Message)

_TOKEN_HEADER_BYTES, _TOKEN_DIGEST_BYTES = 5, 8
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ é"


def damaged(raw: bytes, rng: np.random.Generator) -> bytes:
    """One to three times: a bit flipped, a byte replaced, inserted or removed, a piece repeated, the rest cut off."""
    found = bytearray(raw)
    for _ in range(int(rng.integers(1, 4))):
        place = int(rng.integers(len(found) + 1))
        match int(rng.integers(6)):
            case 0 if place < len(found):
                found[place] ^= 1 << int(rng.integers(8))
            case 1 if place < len(found):
                found[place] = int(rng.integers(256))
            case 2:
                del found[place : place + int(rng.integers(1, 4))]
            case 3:
                del found[place:]
            case 4:
                piece = found[place : place + int(rng.integers(1, 30))]
                found[place:place] = piece * int(rng.integers(1, 4))
            case _:
                found[place:place] = rng.bytes(int(rng.integers(1, 5)))
    return bytes(found)


def crossed(request: Request, other: Request, rng: np.random.Generator) -> Request:
    """`request` with one to four of its fields as they are in `other`."""
    names = [field.name for field in request.DESCRIPTOR.fields]
    taken = set(rng.choice(names, size=int(rng.integers(1, 5)), replace=False).tolist())
    result, part = type(request)(), type(request)()
    result.CopyFrom(request)
    part.CopyFrom(other)
    for name in names:
        (result if name in taken else part).ClearField(name)
    result.MergeFrom(part)
    return result


def altered_token(token: str, rng: np.random.Generator) -> str:
    """A page token with a few letters changed, or a piece of it removed."""
    letters = list(token)
    for _ in range(int(rng.integers(1, 4))):
        place = int(rng.integers(len(letters)))
        letters[place] = str(rng.choice(list(_LETTERS)))
    if rng.random() < 0.3:
        del letters[int(rng.integers(len(letters))) :]
    return "".join(letters)


def forged_token(token: str, rng: np.random.Generator) -> str:
    """A page token with other contents under a right checksum, which any caller can compute; the part that ties it to
    its request mostly stays, and half the time the length, too."""
    whole = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    kept = _TOKEN_HEADER_BYTES + (_TOKEN_DIGEST_BYTES if rng.random() < 0.9 else 0)
    rest = whole[kept:]
    body = whole[_TOKEN_HEADER_BYTES:kept] + (damaged if rng.random() < 0.5 else _overwritten)(rest, rng)
    return base64.urlsafe_b64encode(whole[:1] + zlib.crc32(body).to_bytes(4, "little") + body).decode().rstrip("=")


def _overwritten(raw: bytes, rng: np.random.Generator) -> bytes:
    """The same length with one to eight bytes replaced."""
    found = bytearray(raw)
    for _ in range(int(rng.integers(1, 9))):
        found[int(rng.integers(len(found)))] = int(rng.integers(256))
    return bytes(found)
