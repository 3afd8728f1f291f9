"""A process can refuse libraries that it has no use for."""

import importlib
import sys

import pytest

from features.lean_imports import block


@pytest.fixture(autouse=True)
def _leave_the_import_system_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    for name in ("wave", "xmlrpc", "xmlrpc.client", "mailbox"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_a_blocked_module_looks_as_if_it_were_not_installed() -> None:
    block("wave")
    with pytest.raises(ModuleNotFoundError, match="wave is kept out of this process"):
        importlib.import_module("wave")
    assert "wave" not in sys.modules


def test_the_modules_inside_a_blocked_package_are_blocked_too() -> None:
    block("xmlrpc")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("xmlrpc.client")


def test_other_modules_are_imported_as_ever() -> None:
    block("wave", "mail")
    assert importlib.import_module("mailbox").__name__ == "mailbox"


def test_blocking_what_is_already_imported_is_an_error_that_names_it() -> None:
    with pytest.raises(RuntimeError, match="pytest"):
        block("wave", "pytest")
    assert importlib.import_module("wave").__name__ == "wave"
