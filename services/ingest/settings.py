"""What the ingest service reads from its environment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field, FilePath, model_validator

from services.common.settings import Port, ServiceSettings
from services.common.streams import SHARDS_DEFAULT


class IngestSettings(ServiceSettings):
    """Besides what every service reads.

    What an accepted event is worth is said by Valkey's own `appendfsync`: with `always` it is on the disk before it is
    acknowledged and outlives a power cut; with `everysec` it outlives the end of any process, Valkey's included, and a
    machine that stops loses the last second. Either holds for the server that acknowledged it: replicas are told
    afterwards, so that one that takes over, as in a cluster, may lack what was acknowledged a moment before.
    """

    NEEDS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **ServiceSettings.NEEDS,
        "triton_certificate": ("triton_key", "triton_ca"),
        "triton_key": ("triton_certificate",),
    }

    ingest_port: Port = 8012
    """Port to listen on."""
    ingest_processes: Annotated[int, Field(ge=0, le=256)] = 1
    """Processes that share the port; 0 means one for each core. With more than one, a fixed port is needed, and the
    metrics of each are at AISLE_METRICS_PORT plus its number."""
    redis: str = "127.0.0.1:6379"
    """Valkey: host:port, further nodes of a cluster and options after commas."""
    shards: Annotated[int, Field(ge=1, le=1024)] = SHARDS_DEFAULT
    """Streams that the shoppers' events are spread over. Every process must have the same number, for ever."""
    live_dir: Path = Path("build/live")
    """Folder of the files that live events and items are kept in."""
    feast_dir: Path = Path("build/feast")
    """Folder of Feast's registry."""
    offline_dir: Path = Path("build/offline")
    """Folder of Feast's offline tables."""
    training_dir: Path = Path("build")
    """Folder below which training keeps prepared data and reports: a purge looks through all of it."""
    audit_key_file: FilePath | None = None
    """File with the key of the hash by which the audit log and the lists of who opted out name shoppers; the same for
    every process. By default one that is made in the live folder (features/shopper_digest.py)."""
    pseudonym_key_file: FilePath | None = None
    """File with the key by which updaters hash shoppers' ids in files; by default they write them as they are."""
    write_timeout_ms: Annotated[float, Field(gt=0, le=60_000)] = 2000.0
    """How long Valkey may take over a batch before its events are UNAVAILABLE. Milliseconds."""
    triton_address: str = "127.0.0.1:8001"
    """Triton's gRPC address, host:port."""
    triton_ca: FilePath | None = None
    """PEM file; Triton must show a certificate that one of these has signed. By default no TLS."""
    triton_certificate: FilePath | None = None
    """PEM file with the certificate chain that is shown to Triton."""
    triton_key: FilePath | None = None
    """PEM file with that certificate's private key, not encrypted."""
    text_timeout_ms: Annotated[float, Field(gt=0, le=60_000)] = 2000.0
    """How long one request for new items waits for Triton; what has no vector by then is stored without one and gets it
    later. Milliseconds."""
    text_rules: FilePath | None = None
    """TOML file of the rules by which texts are flagged or refused (services/ingest/catalog/flags.py); by default the
    list beside that file."""
    request_bytes_max: Annotated[int, Field(ge=1024, le=2**28)] = 2**25
    """The largest request that is read; a larger one is refused with RESOURCE_EXHAUSTED. Bytes. Large enough that an
    event with a text of megabytes is answered as one that is wrong, and the rest of its batch is kept."""
    in_flight_bytes_max: Annotated[int, Field(ge=1024, le=2**34)] = 2**27
    """What the requests that are being read or answered may come to; further calls wait unread. Bytes. A request that
    is being read counts as `request_bytes_max`. A process needs several times as much memory at
    most: an event of many empty texts takes more room decoded than encoded."""

    @model_validator(mode="after")
    def _check_one_request_fits(self) -> Self:
        if self.in_flight_bytes_max < self.request_bytes_max:
            raise ValueError("AISLE_IN_FLIGHT_BYTES_MAX is below AISLE_REQUEST_BYTES_MAX: no request could be read")
        return self
