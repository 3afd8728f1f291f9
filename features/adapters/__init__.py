"""Where data comes from: one small module per source, one function to load any of them.

A source is named by a spec: `complete-journey`, `parquet:DIR`, `synthetic` or `synthetic:seed=1,user_count=50`. With
`+live:DIR` after it, what a live folder holds is laid over it (live_data.py): `complete-journey+live:build/live`. A
live folder alone is no data set: it has neither a calendar nor the items that never changed.
"""

import hashlib
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from features.adapters import cache, complete_journey, parquet, synthetic
from features.live_data import with_live
from features.schema import Dataset

ADAPTERS = (complete_journey.NAME, parquet.NAME, synthetic.NAME)
LIVE = "+live:"
"""Between a source's spec and a live folder."""


class AdapterError(ValueError):
    """A data spec that names no source, or a source that is not installed."""


def load(spec: str, cache_dir: Path) -> Dataset:
    """Load a data set.

    Args:
        spec: `ADAPTER` or `ADAPTER:ARGUMENT`, either with `+live:DIR`; see the module.
        cache_dir: Folder for the prepared copies of slow sources and, in `rejects/`, for side files of rejected rows.

    Raises:
        AdapterError: The adapter is unknown, or lacks its argument or its package.
        SchemaError: A file cannot be used; names the file and the column.
    """
    source, live, folder = spec.partition(LIVE)
    if not live:
        return _load_source(spec, cache_dir)
    if not folder:
        raise AdapterError(f"data {spec!r}: write {source}{LIVE}DIR")
    data, forget = _load_source(source, cache_dir), partial(cache.forget, cache_dir)
    return with_live(data, Path(folder), cache_dir / "rejects", forget)


def live_folder(spec: str) -> Path | None:
    """The live folder that a spec names, if it names one."""
    _, live, folder = spec.partition(LIVE)
    return Path(folder) if live else None


def _load_source(spec: str, cache_dir: Path) -> Dataset:
    name, _, argument = spec.partition(":")
    rejects_dir = cache_dir / "rejects"
    if name == synthetic.NAME:
        return synthetic.load(argument)
    if name == parquet.NAME:
        if not argument:
            raise AdapterError(f"data {spec!r}: write {parquet.NAME}:DIR")
        return parquet.load(Path(argument), rejects_dir)
    if name == complete_journey.NAME:
        if argument:
            return complete_journey.load(Path(argument), rejects_dir)
        return _packaged(cache_dir, rejects_dir)
    raise AdapterError(f"data {spec!r}: adapter {name!r} is none of {', '.join(ADAPTERS)}")


def _packaged(cache_dir: Path, rejects_dir: Path) -> Dataset:
    try:
        package = distribution(complete_journey.PACKAGE)
    except PackageNotFoundError as error:
        raise AdapterError(f"{complete_journey.NAME}: package {complete_journey.PACKAGE} is not installed") from error
    kept = cache_dir / f"{complete_journey.NAME}-{package.version}-{_code_version()}"
    if not cache.is_kept(kept):
        folder = Path(str(package.locate_file(complete_journey.DATA_FOLDER)))
        cache.keep(complete_journey.load(folder, rejects_dir), kept)
    return cache.recall(kept)


def _code_version() -> str:
    """Changes with the code that prepares the data, so that a copy made by older code is not taken for this one's."""
    features = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for name in ("schema.py", "validation.py", "adapters/complete_journey.py", "adapters/complete_journey_text.py"):
        digest.update((features / name).read_bytes())
    return digest.hexdigest()[:8]
