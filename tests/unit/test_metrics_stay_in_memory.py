"""Feast switches prometheus_client to files shared by name; then two registries of one process share a counter."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["features.store", "features.feast_repo"])
def test_importing_feast_leaves_every_registry_its_own_counters(module: str) -> None:
    code = f"import {module}; from prometheus_client.values import ValueClass; print(ValueClass.__name__)"
    # Feast may have been imported here, and says what it does in the environment that children inherit.
    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith("PROMETHEUS_")}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "MutexValue"
