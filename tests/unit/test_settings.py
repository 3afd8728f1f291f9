"""What a service reads from its environment."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from services.common.settings import Port, ServiceSettings, SettingsError


class ShopSettings(ServiceSettings):
    """A service's own settings."""

    shop_port: Port
    """A key without default."""


def test_defaults_serve_one_machine() -> None:
    settings = ServiceSettings.read()
    assert (settings.host, settings.bundles, settings.clock) == ("127.0.0.1", Path("bundles"), "bundle")


def test_the_environment_is_read_by_prefix_and_cannot_be_changed_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AISLE_SHOP_PORT", "8080")
    monkeypatch.setenv("AISLE_CLOCK", "wall")
    settings = ShopSettings.read()
    assert (settings.shop_port, settings.clock) == (8080, "wall")
    with pytest.raises(ValidationError, match="frozen"):
        settings.clock = "bundle"


def test_every_key_at_fault_is_named_with_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AISLE_SHOP_PORT", "70000")
    monkeypatch.setenv("AISLE_DRAIN_SECONDS", "soon")
    with pytest.raises(SettingsError) as caught:
        ShopSettings.read()
    assert "AISLE_SHOP_PORT: Input should be less than or equal to 65535 (is '70000')" in str(caught.value)
    assert "AISLE_DRAIN_SECONDS" in str(caught.value)
    assert "'soon'" in str(caught.value)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(SettingsError, match="AISLE_SHOP_PORT: Field required"):
        ShopSettings.read()


def test_a_setting_without_the_one_it_needs_is_refused_and_neither_value_is_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate = tmp_path / "server.pem"
    certificate.touch()
    monkeypatch.setenv("AISLE_TLS_CERTIFICATE", str(certificate))
    monkeypatch.setenv("AISLE_SHOP_PORT", "8080")
    with pytest.raises(SettingsError) as caught:
        ShopSettings.read()
    assert str(caught.value) == "AISLE_TLS_CERTIFICATE needs AISLE_TLS_KEY"


def test_a_file_that_is_not_there_is_named_with_its_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AISLE_API_KEYS", str(tmp_path / "keys.json"))
    with pytest.raises(SettingsError, match=rf"AISLE_API_KEYS: Path does not point to a file .*{tmp_path}/keys\.json"):
        ServiceSettings.read()


def test_every_setting_is_described() -> None:
    assert [name for name, field in ServiceSettings.model_fields.items() if not field.description] == []
