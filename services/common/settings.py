"""What the environment says, read once by one typed reader.

Choices: every key is `AISLE_` and the field's name in capitals; values are checked at start and cannot change
afterwards. A service adds its own fields in a subclass, in its own file. Knows nothing of what the values are used for.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "AISLE_"

Port = Annotated[int, Field(ge=0, le=65535)]
"""A TCP port; 0 lets the system choose a free one."""


class SettingsError(Exception):
    """The environment holds a value that a setting cannot take, or lacks one that it needs."""


class ServiceSettings(BaseSettings):
    """What every service reads from its environment."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, use_attribute_docstrings=True, extra="ignore")

    host: str = "127.0.0.1"
    """Address to listen on."""
    bundles: Path = Path("bundles")
    """Folder with one folder per bundle and the pointer file `serving`."""
    clock: Literal["bundle", "wall", "as-of"] = "bundle"
    """What "now" means: the bundle's `as_of` plus the time since the start, the system's clock, or `as_of` for ever."""
    reflection: bool = True
    """Let any gRPC client ask which services and messages there are."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least severe log lines that are written."""
    notice_seconds: Annotated[float, Field(ge=0, le=300)] = 0.0
    """At shutdown: how long calls are still accepted after health says NOT_SERVING. Seconds, 0 to 300."""
    drain_seconds: Annotated[float, Field(ge=0, le=300)] = 10.0
    """At shutdown: how long running calls may take to finish. Seconds, 0 to 300."""
    connection_age_seconds: Annotated[int, Field(ge=1)] = 300
    """After how long a client must connect anew, so that it finds new servers. Seconds."""
    metrics_port: Port | None = None
    """Port of the Prometheus exporter; none by default."""

    @classmethod
    def read(cls) -> Self:
        """Reads the environment.

        Raises:
            SettingsError: names every key at fault with its value and what is wrong with it.
        """
        try:
            return cls()
        except ValidationError as error:
            faults = [(_key(fault["loc"]), fault["msg"], fault["input"]) for fault in error.errors()]
            raise SettingsError("; ".join(f"{key}: {text} (is {value!r})" for key, text, value in faults)) from None


def _key(location: tuple[int | str, ...]) -> str:
    return PREFIX + str(location[0]).upper()
