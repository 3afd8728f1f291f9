"""Puts a bundle's features into the online store:
`python -m features.materialise --data complete-journey+live:build/live`.

Shoppers' rows are computed from the data up to the bundle's `as_of`; items' rows are the bundle's own table.

Without `+live:DIR` nobody is left out: where there is a live folder, what was purged comes back. Who is left out or
forgotten while this is at work is taken out again at its end; where it was killed before that, the purge must be
repeated.
"""

import argparse
import logging
from contextlib import nullcontext
from pathlib import Path

import polars as pl

from features import bundle as files
from features.adapters import live_folder, load
from features.bundle import Bundle, open_bundle, serving_path
from features.lean_imports import block
from features.left_out import NewlyLeftOut, rewriting
from features.schema import Dataset
from features.transforms import known_events, user_features

log = logging.getLogger("features.materialise")


def user_rows(data: Dataset, bundle: Bundle) -> pl.DataFrame:
    """Every shopper's row as of the bundle: `user_id` and the USER_FEATURES."""
    return user_features(known_events(data.events, bundle.as_of), pl.read_parquet(bundle.path(files.ITEMS)))


def materialise_bundle(
    data: Dataset,
    bundle: Bundle,
    feast_dir: Path,
    offline_dir: Path,
    redis: str,
    newly: NewlyLeftOut | None = None,
) -> int:
    """Write both tables to the offline store and into the online store.

    Args:
        data: What happened.
        bundle: Says up to when.
        feast_dir: Feast's registry.
        offline_dir: Feast's offline tables.
        redis: The online store, host:port.
        newly: Made before `data` was read; None where nobody can be left out.

    Returns:
        Number of shoppers.
    """
    from features import store  # noqa: PLC0415 - Feast takes seconds to import; the command line blocks torch first

    users, items = user_rows(data, bundle), pl.read_parquet(bundle.path(files.ITEM_COLUMNS))
    opened = store.open_store(feast_dir, offline_dir, redis)

    def write_users() -> None:
        with nullcontext() if newly is None else rewriting(newly.live):
            store.write_offline(users, "user", bundle.as_of, offline_dir)

    write_users()
    store.write_offline(items, "item", bundle.as_of, offline_dir)
    store.materialise(opened, users, items, bundle.as_of)
    while newly is not None and (gone := newly.among(users["user_id"])):
        users = users.filter(~pl.col("user_id").is_in(gone))
        write_users()
        store.take_back(opened, gone)
    return users.height


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m features.materialise", description=__doc__)
    parser.add_argument("--data", default="complete-journey", help="ADAPTER[:ARGUMENT][+live:DIR] (%(default)s)")
    parser.add_argument("--cache", type=Path, default=Path("build/data"), help="prepared data (default %(default)s)")
    parser.add_argument("--bundles", type=Path, default=Path("bundles"))
    parser.add_argument("--feast-dir", type=Path, default=Path("build/feast"), help="Feast's registry")
    parser.add_argument("--offline-dir", type=Path, default=Path("build/offline"), help="Feast's offline tables")
    parser.add_argument("--redis", default="127.0.0.1:6379", help="online store, host:port (default %(default)s)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    block("torch", "transformers", "sklearn", "matplotlib")
    bundle, live = open_bundle(serving_path(options.bundles)), live_folder(options.data)
    newly = None if live is None else NewlyLeftOut(live)
    data = load(options.data, options.cache)
    count = materialise_bundle(data, bundle, options.feast_dir, options.offline_dir, options.redis, newly)
    log.info("%d shoppers as of %s are in the online store at %s", count, bundle.as_of, options.redis)


if __name__ == "__main__":
    main()
