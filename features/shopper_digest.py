"""What stands for a shopper where the id must not be kept: in the audit log and in the lists of who is left out.

Choices: HMAC-SHA256 under a key that every process over one live folder shares: ids are few and easy to guess, so that
a hash without a key would name them. The key's file is AISLE_AUDIT_KEY_FILE; without it one is made in the live folder,
readable by its owner only. Losing the key loses all opt-outs: keep it as the data is kept.

Knows nothing of pseudonyms in files of events, whose key is another one (features/pseudonyms.py).
"""

import hmac
import os
import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

from features.atomic import make_folder

Digest: TypeAlias = Callable[[str], str]
"""Makes 64 hex digits of a shopper's id."""
KEY_FILE_VARIABLE = "AISLE_AUDIT_KEY_FILE"
"""The environment's name for the key's file."""
KEY_BYTES_MIN = 16
"""Shortest key that is taken."""

LEFT_OUT_FOLDER = "left_out"
"""Where a live folder lists shoppers by their digests (features/left_out.py)."""

_OWN_FILE = "audit.key"


def shopper_digest(key: bytes, shopper: str) -> str:
    """64 hex digits that stand for a shopper's id.

    Args:
        key: From `audit_key`.
        shopper: The id, or its pseudonym.
    """
    return hmac.digest(key, shopper.encode("utf-8", errors="surrogatepass"), "sha256").hex()


def open_digest(live_dir: Path, configured: Path | None) -> Digest:
    """`shopper_digest` under the key of a live folder.

    Raises:
        ValueError, OSError: as by `audit_key`.
    """
    return partial(shopper_digest, audit_key(live_dir, configured))


def audit_key(live_dir: Path, configured: Path | None) -> bytes:
    """The key of a live folder, made at its first use where none is configured.

    Args:
        live_dir: The live folder; made if absent.
        configured: What AISLE_AUDIT_KEY_FILE says.

    Raises:
        ValueError: the key is too short, or it is gone while there are hashes under it; names the file.
        OSError: the file cannot be read or made.
    """
    path = configured or live_dir / _OWN_FILE
    if configured is None and not path.exists():
        if (live_dir / LEFT_OUT_FOLDER).exists():
            raise ValueError(f"{path}: is gone, and without it nobody knows who is in {live_dir / LEFT_OUT_FOLDER}")
        _make(path)
    key = path.read_bytes()
    if len(key) < KEY_BYTES_MIN:
        raise ValueError(f"{path}: a key of {len(key)} bytes, not of {KEY_BYTES_MIN} or more")
    return key


def configured_key_file() -> Path | None:
    """What AISLE_AUDIT_KEY_FILE says, for programs that read no settings."""
    named = os.environ.get(KEY_FILE_VARIABLE)
    return Path(named) if named else None


def _make(path: Path) -> None:
    """Of several processes that try at once one succeeds, and all read its key."""
    make_folder(path.parent)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, secrets.token_bytes(32))
        os.fsync(descriptor)
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        os.close(descriptor)
        draft.unlink()
