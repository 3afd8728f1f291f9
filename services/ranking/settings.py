"""What the ranking service reads from its environment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, FilePath, SecretStr

from services.common.settings import BundleVersion, Port, ServiceSettings
from services.common.streams import SHARDS_DEFAULT


class RankingSettings(ServiceSettings):
    """Besides what every service reads."""

    NEEDS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **ServiceSettings.NEEDS,
        "retrieval_certificate": ("retrieval_key", "retrieval_ca"),
        "retrieval_key": ("retrieval_certificate",),
        "retrieval_api_key": ("retrieval_ca",),
        "triton_certificate": ("triton_key", "triton_ca"),
        "triton_key": ("triton_certificate",),
    }

    ranking_port: Port = 8010
    """Port to listen on."""
    ranking_processes: Annotated[int, Field(ge=0, le=256)] = 1
    """Processes that share the port; 0 means one for each core. With more than one, a fixed port is needed, and the
    metrics of each are at AISLE_METRICS_PORT plus its number."""
    queue_max: Annotated[int, Field(ge=1, le=1000)] = 6
    """Calls that a process that is busy all the time computes or keeps waiting; further ones are refused at once."""
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
    retrieval_ca: FilePath | None = None
    """PEM file; the retrieval service must show a certificate that one of these has signed. By default no TLS."""
    retrieval_certificate: FilePath | None = None
    """PEM file with the certificate chain that is shown to the retrieval service."""
    retrieval_key: FilePath | None = None
    """PEM file with that certificate's private key, not encrypted."""
    retrieval_api_key: SecretStr | None = None
    """The API key that is sent to the retrieval service."""
    triton_ca: FilePath | None = None
    """PEM file; Triton must show a certificate that one of these has signed. By default no TLS."""
    triton_certificate: FilePath | None = None
    """PEM file with the certificate chain that is shown to Triton."""
    triton_key: FilePath | None = None
    """PEM file with that certificate's private key, not encrypted."""
    features_timeout_ms: Annotated[float, Field(gt=0, le=10_000)] = 50.0
    """How long the online store may take before the shopper counts as unknown. Milliseconds."""
    interest_timeout_ms: Annotated[float, Field(gt=0, le=10_000)] = 100.0
    """How long Triton may take before the fallback interest vector is used. Milliseconds."""
    retrieval_timeout_ms: Annotated[float, Field(gt=0, le=10_000)] = 50.0
    """How long a retrieval service may take before its candidates are left out. Milliseconds."""
    stale_after_days: Annotated[float, Field(gt=0)] = 7.0
    """A reply says STALE_FEATURES when the bundle's features are older than this. Days on the serving clock."""
    shards: Annotated[int, Field(ge=1, le=1024)] = SHARDS_DEFAULT
    """Streams that the shop's events are spread over; the same for every service."""
    live_stale_seconds: Annotated[float, Field(gt=0)] = 30.0
    """A reply says STALE_FEATURES when an event of the shopper's stream has waited longer than this to become
    features. Seconds."""
    diversity: Literal["NONE", "LOW", "MEDIUM", "HIGH", "AUTO"] = "NONE"
    """How much alike neighbouring items may be where a request does not say."""
    price_rerank: Literal["NONE", "LOW", "MEDIUM", "HIGH"] = "NONE"
    """How strongly dearer items move up where a request does not say."""
    experiments: Path | None = None
    """File of experiments (services/ranking/experiments.py); by default none runs."""
    startup_wait_seconds: Annotated[float, Field(ge=0, le=30)] = 30.0
    """How long a first start waits for the online store and Triton; after that it serves, degraded. Seconds, 0 to
    30."""
    shadow_bundle: BundleVersion | None = None
    """A second bundle that answers some of the requests too; its lists are compared, never shown. None by default."""
    shadow_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    """The share of requests that it answers, 0 to 1."""
    slow_request_ms: Annotated[float, Field(ge=0)] = 250.0
    """A call that takes longer is logged with what it spent its time on, one a second at most; 0: none is.
    Milliseconds."""
