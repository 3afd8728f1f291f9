"""The tiny shop with shoppers who did something, for load tests: everything that a stack of its own needs."""

from pathlib import Path

import polars as pl

from features import bundle as files
from services.stack import StackConfig
from tests.shop import day, event
from tests.shop import events as events_table
from tests.tiny_shop import AS_OF, write_shop_bundle

_SHOPPERS = 10
_EVENTS = 100


def write_load_shop(folder: Path, triton_venv: Path) -> StackConfig:
    """Bundle and data below `folder`, and how to serve them."""
    items = pl.read_parquet(write_shop_bundle(folder / "bundles", seed=1).path(files.ITEMS))
    (folder / "shop").mkdir()
    items.write_parquet(folder / "shop" / "items.parquet")
    acts = (event(f"shopper-{n % _SHOPPERS}", f"item-{n * 7 % items.height}", n / 100) for n in range(_EVENTS))
    long_ago = AS_OF - day(10)
    happened = events_table(*acts).with_columns(pl.col("event_time") + long_ago)
    happened.write_parquet(folder / "shop" / "events.parquet")
    return StackConfig(
        data=f"parquet:{folder / 'shop'}",
        bundles=folder / "bundles",
        build=folder,
        triton_venv=triton_venv,
        ranking_port=0,
    )
