"""API keys: their file, and the command that makes one.

    python -m services.common.keys --tenant default --name storefront --file keys.json

Choices: the file holds hashes, so that who reads it cannot call. A key is 256 random bits and not a password: nobody
can try them all, which makes SHA-256 without salt enough and lets a key be checked at every call. Adding replaces the
file in one step and one process at a time; taking a key back is deleting its entry. Knows nothing of servers.
"""

import argparse
import hashlib
import hmac
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.common.exclusive import exclusive
from services.common.limits import DEFAULT_TENANT, ID_CHARACTERS_MAX

KEY_HEADER = "x-api-key"
"""Name of the gRPC metadata that carries a caller's key."""

_KEY_PREFIX = "aisle_"  # by which scanners find a key that was left in a repository or a log
_KEY_BYTES = 32

Id = Annotated[str, Field(min_length=1, max_length=ID_CHARACTERS_MAX)]


class KeyFileError(Exception):
    """The file of keys cannot be read, or an entry in it is wrong."""


class ApiKey(BaseModel):
    """One key, as far as a server knows it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tenant: Id
    """The only tenant whose data it opens."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the key's UTF-8 bytes, in hex."""
    name: Id
    """Who holds it; once per tenant."""


class _KeyFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[ApiKey, ...]


def read_keys(path: Path) -> tuple[ApiKey, ...]:
    """The keys in a file.

    Raises:
        KeyFileError: names the file and the first entry at fault.
    """
    try:
        keys = _KeyFile.model_validate_json(path.read_bytes()).keys
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read ({error.strerror})") from None
    except ValidationError as error:
        fault = error.errors()[0]
        raise KeyFileError(f"{path}: {'.'.join(map(str, fault['loc'])) or 'not JSON'}: {fault['msg']}") from None
    for position, key in enumerate(keys):
        if any(key.sha256 == other.sha256 for other in keys[:position]):
            raise KeyFileError(f"{path}: keys.{position}: the same key as an earlier entry")
    return keys


def find_key(presented: str | bytes, keys: Sequence[ApiKey]) -> ApiKey | None:
    """The entry of a presented key, in a time that does not tell how much of it was right, nor which entry it is."""
    content = presented.encode() if isinstance(presented, str) else presented
    digest, found = hashlib.sha256(content).hexdigest(), None
    for key in keys:
        if hmac.compare_digest(digest, key.sha256):
            found = key
    return found


def add_key(path: Path, tenant: str, name: str) -> str:
    """Make a key and add its hash to a file, which is made if there is none; only its owner may read it.

    Returns:
        The key, which is kept nowhere.

    Raises:
        KeyFileError: the file cannot be read, or the tenant has a key of that name already.
    """
    path = path.resolve()
    key = _KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)
    with _alone(path.parent):
        keys = read_keys(path) if path.exists() else ()
        if any((known.tenant, known.name) == (tenant, name) for known in keys):
            raise KeyFileError(f"{path}: {tenant!r} has a key named {name!r} already")
        try:
            added = ApiKey(tenant=tenant, sha256=hashlib.sha256(key.encode()).hexdigest(), name=name)
        except ValidationError as error:
            fault = error.errors()[0]
            raise KeyFileError(f"{fault['loc'][0]}: {fault['msg']}") from None
        _replace(path, _KeyFile(keys=(*keys, added)).model_dump_json(indent=2) + "\n")
    return key


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps other processes that add a key in that folder waiting."""
    with ExitStack() as held:
        try:
            held.enter_context(exclusive(folder))
        except OSError as error:
            raise KeyFileError(f"{folder} cannot be opened ({error.strerror})") from None
        yield


def _replace(path: Path, text: str) -> None:
    """Writes a file that others see either as it was or whole."""
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made with mode 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def main(arguments: Sequence[str] | None = None) -> None:
    """Makes a key and prints it, once."""
    parser = argparse.ArgumentParser(prog="python -m services.common.keys", description="Make an API key.")
    parser.add_argument("--tenant", default=DEFAULT_TENANT, help="whose data it opens (default %(default)s)")
    parser.add_argument("--name", required=True, help="who will hold it")
    parser.add_argument("--file", type=Path, required=True, help="what AISLE_API_KEYS names; made if not there")
    options = parser.parse_args(arguments)
    try:
        print(add_key(options.file, options.tenant, options.name))
    except (KeyFileError, OSError) as error:
        sys.exit(f"keys: {error}")


if __name__ == "__main__":
    main()
