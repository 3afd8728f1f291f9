"""Writes what one run learned as the files of a bundle (features.bundle has the format)."""

import dataclasses
import json
import subprocess
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from features import bundle as files
from features.encode import item_columns
from features.schema import Dataset
from features.transforms import item_features, known_events, regular_prices
from services.ranking.ordering import ItemToItem, popular_rows
from services.retrieval.index import build_index
from training.compress import compress
from training.config import Task, TrainConfig
from training.dataset import item_texts
from training.export import export_interest_tower, export_text_tower
from training.progress import Timings
from training.text_tower import Tokens
from training.towers import Towers

_COMPARED_TEXTS = 1_256
"""That smaller text towers are calibrated with (256) and judged by (all others): the first percentile of a thousand
cosines has a standard deviation of .001 on complete-journey."""


def write_files(
    root: Path,
    data: Dataset,
    items: pl.DataFrame,
    tokens: Tokens,
    towers: Towers,
    item_to_item: ItemToItem,
    ranker_texts: Mapping[Task, str],
    as_of: datetime,
) -> None:
    """Everything but the manifest, into an existing directory."""
    known = known_events(data.events, as_of)
    features = item_features(known, items, data.promotions, as_of)
    items.write_parquet(root / files.ITEMS)
    features.write_parquet(root / files.ITEM_COLUMNS)
    regular_prices(known).sort("item_id").write_parquet(root / files.REGULAR_PRICES)
    np.save(root / files.ITEM_VECTORS, towers.vectors.astype(np.float16))
    np.save(root / files.POPULARITY, popular_rows(item_columns(items, features, as_of)))
    build_index(towers.vectors).save(root / files.INDEX)
    item_to_item.save(root / files.ITEM_TO_ITEM)
    (root / files.RANKER).write_text(ranker_texts["all"])
    (root / files.NEW_RANKER).write_text(ranker_texts["new"])
    export_text_tower(towers.text.tower, towers.items.adapter, tokens, root / files.TEXT_TOWER)
    export_interest_tower(towers.interest, root / files.INTEREST_TOWER)
    tokens.save(root / files.TOKENIZER)
    (root / files.INTEREST_CONFIG).write_text(json.dumps({"interest_count": towers.interest.interest_count}))
    (root / files.TEXT_CONFIG).write_text(json.dumps({"max_tokens": tokens.max_tokens}))


def write_smaller_text_towers(root: Path, items: pl.DataFrame, max_tokens: int, seed: int) -> dict[str, dict[str, Any]]:
    """Write TEXT_TOWER_FP16 and TEXT_TOWER_INT8 beside a written TEXT_TOWER.

    Args:
        root: The draft bundle.
        items: The ITEMS table; some of its distinct texts calibrate, others judge.
        max_tokens: Longer texts are cut.
        seed: Of which texts.

    Returns:
        For the manifest, under COMPRESSION.

    Raises:
        ValueError: if the items have fewer than two distinct texts.
    """
    texts = item_texts(items).distinct
    chosen = np.random.default_rng(seed).permutation(len(texts))[:_COMPARED_TEXTS]
    folder = Path(files.TEXT_TOWER).parent
    losses = compress(root / folder, [texts[place] for place in chosen], max_tokens, seed)
    return {(folder / name).as_posix(): loss for name, loss in losses.items()}


def manifest_facts(
    data: Dataset, config: TrainConfig, as_of: datetime, seed: int, items: pl.DataFrame, timings: Timings
) -> dict[str, object]:
    """What every manifest says of its run."""
    return {
        "as_of": as_of.isoformat(),
        "data": {"name": data.name, "synthetic": data.synthetic, "items": items.height},
        "config": dataclasses.asdict(config),
        "seed": seed,
        "git_commit": _git_commit(),
        "seconds": timings.seconds,
        "peak_memory_mb": timings.peak_memory_mb,
    }


def _git_commit() -> str | None:
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)  # noqa: S607
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()
