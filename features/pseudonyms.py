"""Shoppers' ids behind a keyed hash, for files that must not name anybody.

Choices: the same id under the same key is always the same pseudonym, so that a shopper's events stay together and a
purge finds them; without the key nobody can try ids out. A pseudonym begins with a mark, and one that is replaced again
becomes another: nothing that a caller sends is taken for a pseudonym.

Knows nothing of who has the key. Another key makes other shoppers of the same people.
"""

import hashlib
from pathlib import Path

import polars as pl

MARK = "anon-"
"""What every pseudonym begins with; 32 hex digits follow."""
ID_COLUMNS = ("user_id", "visitor_id", "session_id")
"""The columns that say who it was."""
KEY_BYTES = (16, 64)
"""Least and greatest length of a key."""


def read_key(path: Path) -> bytes:
    """The key that a file holds, without white space around it.

    Raises:
        ValueError: it is too short or too long for a key; names the file.
        OSError: it cannot be read.
    """
    key = path.read_bytes().strip()
    try:
        _check(key)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return key


def pseudonym(key: bytes, name: str) -> str:
    """What stands for an id: `MARK` and a keyed blake2b of 128 bits in hex.

    Args:
        key: 16 to 64 secret bytes.
        name: The id.

    Raises:
        ValueError: the key is shorter or longer.
    """
    _check(key)
    return MARK + hashlib.blake2b(name.encode("utf-8", errors="surrogatepass"), key=key, digest_size=16).hexdigest()


def with_pseudonyms(frame: pl.DataFrame, key: bytes) -> pl.DataFrame:
    """The frame with a pseudonym for every id in those of ID_COLUMNS that it has; empty and missing ids stay so.

    Raises:
        ValueError: as by `pseudonym`.
    """
    columns = [name for name in ID_COLUMNS if name in frame.columns]
    ids = {name for column in columns for name in frame[column].unique() if name}
    table = {name: pseudonym(key, name) for name in ids}
    if not table:
        return frame
    return frame.with_columns(pl.col(columns).replace(list(table), list(table.values())))


def _check(key: bytes) -> None:
    least, greatest = KEY_BYTES
    if not least <= len(key) <= greatest:
        raise ValueError(f"key: {len(key)} bytes, not {least} to {greatest}")
