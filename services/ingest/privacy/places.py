"""Where everything is that may hold a shopper."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Addresses and folders, as the settings say them."""

    redis: str
    """Streams and online store."""
    shards: int
    live_dir: Path
    feast_dir: Path
    offline_dir: Path
    training_dir: Path
    """The folder below which training keeps prepared data and reports."""
    project: str = "aisle"
    """Feast's."""
