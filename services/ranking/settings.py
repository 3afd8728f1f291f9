"""What the ranking service reads from its environment."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from services.common.settings import Port, ServiceSettings


class RankingSettings(ServiceSettings):
    """Besides what every service reads."""

    ranking_port: Port = 8010
    """Port to listen on."""
    redis: str = "127.0.0.1:6379"
    """Online store: host:port, with Feast's options after commas."""
    feast_dir: Path = Path("build/feast")
    """Folder of Feast's registry."""
    offline_dir: Path = Path("build/offline")
    """Folder of Feast's offline tables."""
    triton_address: str = "127.0.0.1:8001"
    """Triton's gRPC address, host:port."""
    retrieval_address: str | None = None
    """host:port of a retrieval service; by default the index is held in this process."""
    features_timeout_ms: Annotated[float, Field(gt=0, le=10_000)] = 50.0
    """How long the online store may take before the shopper counts as unknown. Milliseconds."""
    interest_timeout_ms: Annotated[float, Field(gt=0, le=10_000)] = 100.0
    """How long Triton may take before the fallback interest vector is used. Milliseconds."""
    retrieval_timeout_ms: Annotated[float, Field(gt=0, le=10_000)] = 50.0
    """How long a retrieval service may take before its candidates are left out. Milliseconds."""
    stale_after_days: Annotated[float, Field(gt=0)] = 7.0
    """A reply says STALE_FEATURES when the bundle's features are older than this. Days on the serving clock."""
    diversity: Literal["NONE", "LOW", "MEDIUM", "HIGH", "AUTO"] = "NONE"
    """How much alike neighbouring items may be where a request does not say."""
    price_rerank: Literal["NONE", "LOW", "MEDIUM", "HIGH"] = "NONE"
    """How strongly dearer items move up where a request does not say."""
    experiments: Path | None = None
    """File of experiments (services/ranking/experiments.py); by default none runs."""
    startup_wait_seconds: Annotated[float, Field(ge=0, le=30)] = 30.0
    """How long a first start waits for the online store and Triton; after that it serves, degraded. Seconds, 0 to
    30."""
