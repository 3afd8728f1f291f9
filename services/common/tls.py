"""TLS by settings: what a server shows and asks for, and what a client of ours trusts and shows.

Choices: PEM files, checked at start with the standard library, so that a wrong one is named then and not by a failed
handshake. A server looks for renewed files at every handshake and needs no restart (`Reloaded`); a channel keeps the
files it was opened with. Keys are not encrypted: who may read them is the file system's business. Versions and ciphers
are gRPC's own (TLS 1.2 and above). Knows nothing of API keys.
"""

import ssl
from typing import NamedTuple

import grpc

from services.common.reloading import Reloaded
from services.common.settings import NamedFile, ServiceSettings, SettingsError


class Identity(NamedTuple):
    """What one side of a connection shows of itself."""

    certificate: NamedFile
    """Chain in PEM, the own certificate first."""
    key: NamedFile
    """Its private key in PEM."""


def server_credentials(settings: ServiceSettings) -> grpc.ServerCredentials | None:
    """What a server shows of itself and asks of its clients; None without TLS.

    Raises:
        SettingsError: naming the variable and the file that cannot be used.
    """
    identity, client_ca = _identity(settings, "tls"), settings.file("tls_client_ca")
    if identity is None:
        return None
    files = [file for file in (*identity, client_ca) if file is not None]
    reloaded = Reloaded([file.path for file in files], lambda: _server_configuration(identity, client_ca))
    return grpc.dynamic_ssl_server_credentials(
        reloaded.current(),
        reloaded.changed,  # type: ignore[arg-type] # the stubs do not know that None stands for "as before"
        require_client_authentication=client_ca is not None,
    )


def client_credentials(settings: ServiceSettings, server: str) -> grpc.ChannelCredentials | None:
    """What our client of a server trusts and shows.

    Args:
        settings: with the fields `{server}_ca`, `{server}_certificate` and `{server}_key`.
        server: The server's name in the settings, such as "retrieval".

    Returns:
        None where no CA is set: that server is spoken to without TLS.

    Raises:
        SettingsError: naming the variable and the file that cannot be used.
    """
    identity, ca = _identity(settings, server), settings.file(f"{server}_ca")
    if ca is None:
        return None
    certificate, key = _read_identity(identity) if identity else (None, None)
    return grpc.ssl_channel_credentials(_read_certificates(ca), key, certificate)


def _identity(settings: ServiceSettings, prefix: str) -> Identity | None:
    certificate, key = settings.file(f"{prefix}_certificate"), settings.file(f"{prefix}_key")
    return Identity(certificate, key) if certificate and key else None


def _server_configuration(identity: Identity, client_ca: NamedFile | None) -> grpc.ServerCertificateConfiguration:
    certificate, key = _read_identity(identity)
    trusted = _read_certificates(client_ca) if client_ca else None
    return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=trusted)


def _read_identity(identity: Identity) -> tuple[bytes, bytes]:
    """Certificate chain and key, which belong together."""
    certificate, key = _read_certificates(identity.certificate), _read(identity.key)
    try:
        # With an empty passphrase an encrypted key is an error; with none, OpenSSL would ask for it on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(identity.certificate.path, identity.key.path, "")
    except (ssl.SSLError, ValueError):
        fault = f"is not the unencrypted PEM key of {identity.certificate.path}"
        raise SettingsError(f"{identity.key.variable}: {identity.key.path} {fault}") from None
    return certificate, key


def _read_certificates(file: NamedFile) -> bytes:
    content = _read(file)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=content.decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise SettingsError(f"{file.variable}: {file.path} holds no certificate in PEM") from None
    return content


def _read(file: NamedFile) -> bytes:
    try:
        return file.path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{file.variable}: {file.path} cannot be read ({error.strerror})") from None
