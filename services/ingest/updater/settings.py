"""What an updater reads from its environment."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, FilePath

from services.common.settings import Port, ServiceSettings
from services.common.streams import SHARDS_DEFAULT


class UpdaterSettings(ServiceSettings):
    """Besides what every service reads."""

    updater_port: Port = 8013
    """Port of its health service."""
    redis: str = "127.0.0.1:6379"
    """Streams and online store: host:port, with Feast's options after commas."""
    shards: Annotated[int, Field(ge=1, le=4096)] = SHARDS_DEFAULT
    """Streams that events are spread over; the same for every process, and never changed while there are events."""
    feast_dir: Path = Path("build/feast")
    """Folder of Feast's registry."""
    offline_dir: Path = Path("build/offline")
    """Folder of Feast's offline tables."""
    live_dir: Path = Path("build/live")
    """Folder of the files of events."""
    batch_events: Annotated[int, Field(ge=1, le=100_000)] = 2000
    """The most events that one round takes, over all shards."""
    round_seconds: Annotated[float, Field(ge=0, le=10)] = 0.2
    """The shortest time from the beginning of a round to that of the next: most of what a small round costs is the same
    for a larger one. An event that comes after a pause does not wait. Seconds."""
    cache_mb: Annotated[int, Field(ge=0, le=65_536)] = 256
    """Memory for the states of shoppers who acted within the last ten minutes, which are otherwise read and parsed at
    each of their events: 20 KB for 500 events. Beside it, at most two million items that events name are numbered,
    which takes some 350 MiB. MiB; 0 keeps none."""
    idle_seconds: Annotated[float, Field(gt=0, le=10)] = 0.5
    """How long a wait for new events lasts before shards are taken and given away. Seconds."""
    lease_seconds: Annotated[float, Field(gt=1, le=300)] = 5.0
    """After how long the shards of an updater that has died go to others. Seconds."""
    log_seconds: Annotated[float, Field(gt=0, le=86_400)] = 30.0
    """The longest that an event waits for its file; shards take turns, the first after half of it. Seconds."""
    log_events: Annotated[int, Field(ge=1, le=1_000_000)] = 50_000
    """A file is written earlier when it would hold this many events; none holds more."""
    pseudonym_key_file: FilePath | None = None
    """File with the key by which shoppers' ids are hashed in files; by default they are written as they are."""
    audit_key_file: FilePath | None = None
    """File with the key of the hash by which the audit log and the lists of who opted out name shoppers; the same for
    every process. By default one that is made in the live folder (features/shopper_digest.py)."""
