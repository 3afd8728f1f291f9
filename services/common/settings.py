"""What the environment says, read once by one typed reader.

Choices: every key is `AISLE_` and the field's name in capitals; values are checked at start and cannot change
afterwards. A service adds its own fields in a subclass, in its own file. Knows nothing of what the values are used for.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, FilePath, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "AISLE_"

Port = Annotated[int, Field(ge=0, le=65535)]
"""A TCP port; 0 lets the system choose a free one."""

BundleVersion = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A bundle's name in the folder of all bundles."""


class SettingsError(Exception):
    """The environment holds a value that a setting cannot take, or lacks one that it needs."""


class NamedFile(NamedTuple):
    """A file and the variable that names it, for errors that say both."""

    variable: str
    path: Path


class ServiceSettings(BaseSettings):
    """What every service reads from its environment."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, use_attribute_docstrings=True, extra="ignore")

    NEEDS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "tls_certificate": ("tls_key",),
        "tls_key": ("tls_certificate",),
        "tls_client_ca": ("tls_certificate",),
    }
    """Field to the fields without which it makes no sense."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    bundles: Path = Path("bundles")
    """Folder with one folder per bundle and the pointer file `serving`."""
    swap_poll_seconds: Annotated[float, Field(gt=0, le=3600)] = 1.0
    """How often the pointer is looked at; a service comes to serve the bundle that it names. Seconds."""
    clock: Literal["bundle", "wall", "as-of"] = "bundle"
    """What "now" means: the bundle's `as_of` plus the time since the start, the system's clock, or `as_of` for ever."""
    reflection: bool = True
    """Let any gRPC client ask which services and messages there are."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least severe log lines that are written."""
    log_shopper_ids: bool = False
    """Write the ids of shoppers, visitors and sessions to the log."""
    tls_certificate: FilePath | None = None
    """PEM file with the server's certificate chain; without it calls are not encrypted. A renewed file is noticed."""
    tls_key: FilePath | None = None
    """PEM file with that certificate's private key, not encrypted."""
    tls_client_ca: FilePath | None = None
    """PEM file; every client must then show a certificate that one of these has signed."""
    api_keys: FilePath | None = None
    """JSON file of keys (services/common/keys.py), one of which every call but health must then carry. A changed file
    is noticed."""
    request_bytes_max: Annotated[int, Field(ge=1024, le=2**28)] = 2**22
    """The largest request that is read; a larger one is refused with RESOURCE_EXHAUSTED. Bytes. The limits of single
    fields allow more than this where lists of lists are filled to the end: a request is refused at whichever it reaches
    first."""
    notice_seconds: Annotated[float, Field(ge=0, le=300)] = 0.0
    """At shutdown: how long calls are still accepted after health says NOT_SERVING. Seconds, 0 to 300."""
    drain_seconds: Annotated[float, Field(ge=0, le=300)] = 10.0
    """At shutdown: how long running calls may take to finish. Seconds, 0 to 300."""
    connection_age_seconds: Annotated[int, Field(ge=1)] = 300
    """After how long a client must connect anew, so that it finds new servers. Seconds."""
    metrics_port: Port | None = None
    """Port of the Prometheus exporter; none by default."""
    traces: Literal["none", "otlp"] = "none"
    """Where traces go: nowhere, or where OpenTelemetry's own variables (OTEL_EXPORTER_OTLP_ENDPOINT and the others)
    say. Needs the extra `tracing`."""

    @classmethod
    def read(cls) -> Self:
        """Reads the environment.

        Raises:
            SettingsError: names every key at fault with its value and what is wrong with it.
        """
        try:
            return cls()
        except ValidationError as error:
            raise SettingsError("; ".join(map(_fault, error.errors()))) from None

    def file(self, field: str) -> NamedFile | None:
        """The file that a field names, with its variable; None where it names none."""
        path = getattr(self, field)
        return None if path is None else NamedFile(_variable(field), path)

    @model_validator(mode="after")
    def _check_needs(self) -> Self:
        for field, needed in self.NEEDS.items():
            for other in needed:
                if getattr(self, field) is not None and getattr(self, other) is None:
                    raise ValueError(f"{_variable(field)} needs {_variable(other)}")
        return self


def _fault(error: ErrorDetails) -> str:
    if not error["loc"]:  # about several fields; its input is all of them, secrets too
        return error["msg"].removeprefix("Value error, ")
    return f"{_variable(str(error['loc'][0]))}: {error['msg']} (is {error['input']!r})"


def _variable(field: str) -> str:
    return PREFIX + field.upper()
