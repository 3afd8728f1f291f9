"""Certificates as the settings name them: what fits is taken, what does not is told by variable and file."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from services.common.settings import ServiceSettings, SettingsError
from services.common.tls import client_credentials, server_credentials
from services.ranking.settings import RankingSettings
from tests.certificates import Authority, Issued, private_pem


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ca")


@pytest.fixture
def server(authority: Authority) -> Issued:
    return authority.issue("server")


def test_without_certificates_there_is_no_tls() -> None:
    assert server_credentials(ServiceSettings()) is None
    assert client_credentials(RankingSettings(), "retrieval") is None


def test_files_that_fit_together_give_credentials(authority: Authority, server: Issued) -> None:
    settings = RankingSettings(
        tls_certificate=server.certificate,
        tls_key=server.key,
        tls_client_ca=authority.certificate,
        retrieval_ca=authority.certificate,
        retrieval_certificate=server.certificate,
        retrieval_key=server.key,
        triton_ca=authority.certificate,
    )
    assert server_credentials(settings) is not None
    assert client_credentials(settings, "retrieval") is not None
    assert client_credentials(settings, "triton") is not None


def test_a_certificate_that_is_none_is_refused_by_its_variable_and_file(authority: Authority, server: Issued) -> None:
    server.certificate.write_text("not PEM")
    words = f"AISLE_TLS_CERTIFICATE: {server.certificate} holds no certificate in PEM"
    with pytest.raises(SettingsError, match=words):
        server_credentials(ServiceSettings(tls_certificate=server.certificate, tls_key=server.key))
    settings = RankingSettings(retrieval_ca=server.certificate)
    with pytest.raises(SettingsError, match=f"AISLE_RETRIEVAL_CA: {server.certificate} holds no certificate"):
        client_credentials(settings, "retrieval")


def test_a_client_ca_that_is_none_is_refused_by_its_variable_and_file(server: Issued, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(server.key.read_bytes())
    settings = ServiceSettings(
        tls_certificate=server.certificate, tls_key=server.key, tls_client_ca=tmp_path / "ca.pem"
    )
    with pytest.raises(SettingsError, match=f"AISLE_TLS_CLIENT_CA: {tmp_path}/ca.pem holds no certificate"):
        server_credentials(settings)


def broken(_: Authority, __: Issued) -> bytes:
    return b"not PEM"


def of_another(authority: Authority, _: Issued) -> bytes:
    return authority.issue("other").key.read_bytes()


def encrypted(_: Authority, server: Issued) -> bytes:
    key = serialization.load_pem_private_key(server.key.read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return private_pem(key, serialization.BestAvailableEncryption(b"secret"))


@pytest.mark.parametrize("content", [broken, of_another, encrypted])
def test_a_key_that_does_not_fit_is_refused_by_its_variable_and_file(
    authority: Authority, server: Issued, content: Callable[[Authority, Issued], bytes]
) -> None:
    server.key.write_bytes(content(authority, server))
    words = f"AISLE_TLS_KEY: {server.key} is not the unencrypted PEM key of {server.certificate}"
    with pytest.raises(SettingsError, match=words):
        server_credentials(ServiceSettings(tls_certificate=server.certificate, tls_key=server.key))


def test_a_file_that_vanished_is_refused_by_its_variable_and_file(server: Issued) -> None:
    settings = ServiceSettings(tls_certificate=server.certificate, tls_key=server.key)
    server.key.unlink()
    with pytest.raises(SettingsError, match=rf"AISLE_TLS_KEY: {server.key} cannot be read \(No such file"):
        server_credentials(settings)
