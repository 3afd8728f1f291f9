"""Feast switches prometheus_client to files shared by name; then two registries of one process share a counter."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["features.store", "features.feast_repo"])
def test_importing_feast_leaves_every_registry_its_own_counters(module: str) -> None:
    code = f"import {module}; from prometheus_client.values import ValueClass; print(ValueClass.__name__)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "MutexValue"
