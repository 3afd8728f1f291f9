"""Feast switches prometheus_client to files shared by name; then two registries of one process share a counter."""

import os
import subprocess
import sys

import pytest

AT_FEAST = """
import sys

class Door:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "feast":
            print("prometheus_client.values" in sys.modules)
            sys.exit()

sys.meta_path.insert(0, Door())
import {module}
"""
"""Says whether metrics have their kind of value by the time that Feast is imported, and ends there."""

AFTER_FEAST = """
from features.lean_imports import block
block("torch", "transformers", "sklearn", "matplotlib")
import features.store
from prometheus_client.values import ValueClass
print(ValueClass.__name__)
"""


def said_by(code: str) -> str:
    """What a new process prints."""
    # Feast may have been imported here, and says what it does in the environment that children inherit.
    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith("PROMETHEUS_")}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return run.stdout.strip()


def test_importing_feast_leaves_every_registry_its_own_counters() -> None:
    assert said_by(AFTER_FEAST) == "MutexValue"


@pytest.mark.parametrize("module", ["features.store", "features.feast_repo"])
def test_metrics_are_there_before_feast_is(module: str) -> None:
    assert said_by(AT_FEAST.format(module=module)) == "True"
