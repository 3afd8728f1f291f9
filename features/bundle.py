"""The bundle: everything one training run hands to serving, as plain files under `bundles/<version>/`.

Choices:
- The manifest is written last and holds the sha256 of every file and of its own text: a directory without one is not
  a bundle, and opening reads every byte once, so a torn copy or a flipped bit is refused by the file's name.
- No pickles: ONNX, Parquet, NumPy arrays without objects, LightGBM's and FAISS's own formats, JSON.
- Serving maps the largest files instead of reading them: what they hold must not change under a bundle's name.
- The pointer `bundles/serving` names the serving version; it moves by an atomic rename and every move is a line in
  `serving.log`.

This module does not know how any of the files is made or used.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from features import spec

FORMAT = 1
"""Raised when a reader of this format could no longer understand a bundle."""

TEXT_TOWER = "text_tower/model.onnx"
TOKENIZER = "text_tower/tokenizer.json"
TEXT_CONFIG = "text_tower/config.json"
INTEREST_TOWER = "interest_tower/model.onnx"
INTEREST_CONFIG = "interest_tower/config.json"
ITEMS = "items.parquet"
ITEM_VECTORS = "item_vectors.npy"
ITEM_COLUMNS = "item_columns.parquet"
INDEX = "index.faiss"
RANKER = "ranker.txt"
NEW_RANKER = "ranker_new.txt"
"""For lists from which what the shopper had before is left out."""
ITEM_TO_ITEM = "item_to_item.npz"
REGULAR_PRICES = "regular_prices.parquet"
"""`item_id` and `regular_price`, as shoppers' features were trained with. Bundles of before live events lack it."""
FEATURE_SPEC = "feature_spec.json"
POPULARITY = "popularity.npy"
MANIFEST = "manifest.json"

FILES = (
    TEXT_TOWER,
    TOKENIZER,
    TEXT_CONFIG,
    INTEREST_TOWER,
    INTEREST_CONFIG,
    ITEMS,
    ITEM_VECTORS,
    ITEM_COLUMNS,
    INDEX,
    RANKER,
    NEW_RANKER,
    ITEM_TO_ITEM,
    REGULAR_PRICES,
    FEATURE_SPEC,
    POPULARITY,
)
"""What every bundle holds besides its manifest; more files (reports) are allowed and checked alike."""

TEXT_TOWER_FP16 = "text_tower/model.fp16.onnx"
TEXT_TOWER_INT8 = "text_tower/model.int8.onnx"
"""Smaller text towers, which a bundle may lack."""

COMPRESSION = "compression"
"""Manifest key of what they cost: file → how far its vectors are from TEXT_TOWER's, `cosine_p1` among the figures."""

_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TAKEN = ("serving", "serving.log")
_KEYS = {"format", "version", "as_of", "sha256", "feature_fingerprint", "manifest_sha256"}


class BundleError(Exception):
    """A bundle that must not be served; the message names the file and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle whose every file has been verified."""

    root: Path
    manifest: Mapping[str, Any]

    @property
    def version(self) -> str:
        """The bundle's own name, as in `bundles/<version>`."""
        return str(self.manifest["version"])

    @property
    def as_of(self) -> datetime:
        """The instant up to which events were known, aware UTC."""
        return datetime.fromisoformat(self.manifest["as_of"])

    def path(self, name: str) -> Path:
        """Absolute path of one of the bundle's files.

        Raises:
            BundleError: if the manifest does not list `name`.
        """
        if name not in self.manifest["sha256"]:
            raise BundleError(f"{self.root / name}: not in the bundle's manifest")
        return self.root / name


@contextmanager
def write_bundle(bundles: Path, version: str, facts: Mapping[str, Any]) -> Iterator[Path]:
    """Write a bundle: fill the yielded directory; the manifest is made and the whole moved into place on leaving.

    Args:
        bundles: The directory of all bundles.
        version: The new bundle's name; letters, digits, `.`, `-`, `_`, beginning with a letter or digit.
        facts: What the manifest says besides versions and hashes: `as_of` (ISO, UTC), metrics, data window, git
            commit, … Read on leaving: what is known only then may be added in between.

    Raises:
        BundleError: if the version exists already or is no such name, or a required file was not written.
    """
    final = bundles / version
    if not _VERSION.fullmatch(version) or version in _TAKEN:
        raise BundleError(f"{final}: {version!r} cannot be a version")
    if final.exists():
        raise BundleError(f"{final}: exists already; a bundle is never overwritten")
    draft = bundles / f".{version}.{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        yield draft
        write_feature_spec(draft / FEATURE_SPEC)
        _require(draft, final)
        manifest = {
            **facts,
            "format": FORMAT,
            "version": version,
            "feature_fingerprint": spec.fingerprint(),
            "sha256": {name: _sha256(draft / name) for name in _listing(draft)},
        }
        (draft / MANIFEST).write_text(_sealed(manifest))
        draft.rename(final)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def write_feature_spec(path: Path) -> None:
    """Record the names and order of the ranker's columns, for readers that have only the bundle."""
    path.write_text(json.dumps({"matrix_columns": spec.MATRIX_COLUMNS, "fingerprint": spec.fingerprint()}, indent=2))


def open_bundle(root: Path) -> Bundle:
    """Open and verify a bundle.

    Raises:
        BundleError: naming the file, if the manifest is missing or of another format, a file is missing, extra or
            altered, or the bundle was made with other feature definitions than this code has.
    """
    manifest = _read_manifest(root)
    listed, present = set(manifest["sha256"]), set(_listing(root))
    for name in sorted(listed ^ present):
        raise BundleError(f"{root / name}: {'missing' if name in listed else 'not in the manifest'}")
    for name, expected in manifest["sha256"].items():
        if _sha256(root / name) != expected:
            raise BundleError(f"{root / name}: sha256 differs from the manifest's; the file was altered or torn")
    if manifest["feature_fingerprint"] != spec.fingerprint():
        msg = (
            f"{root / FEATURE_SPEC}: made with feature definitions {manifest['feature_fingerprint']}, "
            f"this code has {spec.fingerprint()}; retrain, or serve it with the code that made it"
        )
        raise BundleError(msg)
    return Bundle(root=root, manifest=manifest)


def serving_path(bundles: Path) -> Path:
    """Directory of the bundle that `bundles/serving` names.

    Raises:
        BundleError: if there is no pointer or it names no directory.
    """
    pointer = bundles / "serving"
    try:
        root = bundles / pointer.read_text().strip()
    except FileNotFoundError:
        raise BundleError(f"{pointer}: no bundle has been promoted yet") from None
    if not root.is_dir():
        raise BundleError(f"{pointer}: names {root.name!r}, which is not there")
    return root


def promote(bundles: Path, version: str, reason: str, now: datetime) -> None:
    """Point `bundles/serving` at `version`, atomically, and log the move with its reason.

    Raises:
        BundleError: if the version does not open.
    """
    open_bundle(bundles / version)
    pointer = bundles / "serving"
    before = pointer.read_text().strip() if pointer.exists() else None
    draft = bundles / f".serving.{os.getpid()}"
    draft.write_text(version + "\n")
    draft.replace(pointer)
    line = {"at": now.astimezone(UTC).isoformat(), "from": before, "to": version, "reason": reason}
    with (bundles / "serving.log").open("a") as log:
        log.write(json.dumps(line) + "\n")


def served_before(bundles: Path) -> str | None:
    """The version that served before the last move of the pointer; None where none did."""
    log = bundles / "serving.log"
    moves = log.read_text().splitlines() if log.exists() else []
    version: str | None = json.loads(moves[-1])["from"] if moves else None
    return version


def forget_old_bundles(bundles: Path, keep: int) -> list[str]:
    """Delete all bundles but the newest `keep`, the one that serves, and the one that served before it.

    Returns:
        The versions that are gone.
    """
    pointer = bundles / "serving"
    needed = {pointer.read_text().strip() if pointer.exists() else None, served_before(bundles)}
    manifests = bundles.glob(f"[!.]*/{MANIFEST}")
    newest_first = sorted(manifests, key=lambda path: path.stat().st_mtime_ns, reverse=True)
    old = [path.parent for path in newest_first[keep:] if path.parent.name not in needed]
    for root in old:
        aside = root.with_name(f".{root.name}.{os.getpid()}")  # at no time a bundle that lacks files
        root.rename(aside)
        shutil.rmtree(aside)
    return [root.name for root in old]


def _read_manifest(root: Path) -> dict[str, Any]:
    path = root / MANIFEST
    try:
        text = path.read_bytes().decode()
        manifest = json.loads(text)
    except FileNotFoundError:
        raise BundleError(f"{path}: missing; not a bundle, or one whose writing was interrupted") from None
    except ValueError as error:
        raise BundleError(f"{path}: not JSON ({error})") from error
    if not isinstance(manifest, dict) or not manifest.keys() >= _KEYS:
        raise BundleError(f"{path}: lacks one of {', '.join(sorted(_KEYS))}")
    if manifest["format"] != FORMAT:
        raise BundleError(f"{path}: format {manifest['format']}, this reader understands {FORMAT}")
    if text != _sealed(manifest):
        raise BundleError(f"{path}: differs from what was written; the file was altered or torn")
    return manifest


def _sealed(manifest: Mapping[str, Any]) -> str:
    """The manifest's text, with the sha256 of all of it but that line under `manifest_sha256`."""
    facts = json.loads(json.dumps({**manifest, "manifest_sha256": ""}))
    facts["manifest_sha256"] = hashlib.sha256(_text(facts).encode()).hexdigest()
    return _text(facts)


def _text(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, indent=2, sort_keys=True) + "\n"


def _require(draft: Path, final: Path) -> None:
    for name in FILES:
        if not (draft / name).is_file():
            raise BundleError(f"{final / name}: was not written")


def _listing(root: Path) -> list[str]:
    names = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return sorted(name for name in names if name != MANIFEST)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
