"""How a secured deployment is entered: whom to trust, who calls, and the API key.

Choice: the files are read where calls are made, on the machine of each worker, and a key is on no command line. Knows
nothing of what is called.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import grpc


class AccessError(Exception):
    """A file cannot be read, or does not go without another; names the option."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """Files, as paths; all None: no TLS, no key."""

    tls_ca: str | None = None
    """Certificates in PEM that are trusted; None: no TLS."""
    tls_certificate: str | None = None
    """Our own chain in PEM, for servers that ask who calls."""
    tls_key: str | None = None
    """Its private key in PEM."""
    api_key_file: str | None = None
    """Holds nothing but the key."""

    @classmethod
    def of(cls, options: argparse.Namespace) -> Self:
        """What `add_access` has read."""
        return cls(**{field.name: getattr(options, field.name) for field in fields(Access)})

    def words(self) -> Sequence[str]:
        """The options of `add_access` that say the same."""
        named = {f"--{field.name.replace('_', '-')}": getattr(self, field.name) for field in fields(Access)}
        return [word for option, path in named.items() if path is not None for word in (option, path)]

    def credentials(self) -> grpc.ChannelCredentials | None:
        """TLS as it is asked for; None: none.

        Raises:
            AccessError: see there.
        """
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise AccessError("--tls-certificate, --tls-key: one without the other")
        if self.tls_ca is None:
            if self.tls_key is not None:
                raise AccessError("--tls-certificate: needs --tls-ca")
            return None
        key, certificate = (_read(name, getattr(self, name)) for name in ("tls_key", "tls_certificate"))
        return grpc.ssl_channel_credentials(_read("tls_ca", self.tls_ca), key, certificate)

    def api_key(self) -> str | None:
        """The key, if there is one.

        Raises:
            AccessError: see there.
        """
        content = _read("api_key_file", self.api_key_file)
        return None if content is None else content.decode(errors="replace").strip()


def add_access(parser: argparse.ArgumentParser) -> None:
    """The options of `Access`."""
    group = parser.add_argument_group("a secured target")
    group.add_argument("--tls-ca", metavar="PEM", help="certificates to trust; with it, calls are made by TLS")
    group.add_argument("--tls-certificate", metavar="PEM", help="our own, where the target asks who calls")
    group.add_argument("--tls-key", metavar="PEM", help="its private key")
    group.add_argument("--api-key-file", metavar="FILE", help="holds the API key and nothing else")


def _read(name: str, path: str | None) -> bytes | None:
    try:
        return None if path is None else Path(path).read_bytes()
    except OSError as error:
        raise AccessError(f"--{name.replace('_', '-')}: {path} cannot be read ({error.strerror})") from None
