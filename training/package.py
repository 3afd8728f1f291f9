"""Writes what one run learned as the files of a bundle (features.bundle has the format)."""

import json
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from features import bundle as files
from features.encode import item_columns
from features.schema import Dataset
from features.transforms import item_features, known_events
from services.ranking.ordering import popular_rows
from services.retrieval.index import build_index
from training.export import export_interest_tower, export_text_tower
from training.towers import Foundation, Towers


def write_files(
    root: Path,
    data: Dataset,
    items: pl.DataFrame,
    foundation: Foundation,
    towers: Towers,
    ranker_text: str,
    as_of: datetime,
) -> None:
    """Everything but the manifest, into an existing directory."""
    features = item_features(known_events(data.events, as_of), items, data.promotions, as_of)
    items.write_parquet(root / files.ITEMS)
    features.write_parquet(root / files.ITEM_COLUMNS)
    np.save(root / files.ITEM_VECTORS, towers.vectors.astype(np.float16))
    np.save(root / files.POPULARITY, popular_rows(item_columns(items, features)))
    build_index(towers.vectors).save(root / files.INDEX)
    (root / files.RANKER).write_text(ranker_text)
    export_text_tower(towers.text.tower, foundation.tokens, root / files.TEXT_TOWER)
    export_interest_tower(towers.interest, root / files.INTEREST_TOWER)
    foundation.tokens.save(root / files.TOKENIZER)
    (root / files.INTEREST_CONFIG).write_text(json.dumps({"interest_count": towers.interest.interest_count}))
    (root / files.TEXT_CONFIG).write_text(json.dumps({"max_tokens": foundation.tokens.max_tokens}))
