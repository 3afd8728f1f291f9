"""What users of Feast expect: `feast apply`, historical retrieval and `materialize` agree with our own calls."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features import spec
from features.feast_repo import repo_config
from features.store import UserReader, UserWriter, close_store, materialise, open_store, read_items, write_offline
from services.common.process import free_port
from tests.frames import assert_same, pushed, random_item_frame, random_user_frame

AS_OF = datetime(2017, 12, 30, 5, 0, 0, 123456, tzinfo=UTC)
PATIENT_SECONDS = 10.0
"""Of a reader: the machine may be busy."""
ROOT = Path(__file__).parents[2]
REPO = ROOT / "features" / "repo"


@pytest.fixture
async def store(tmp_path: Path, valkey_address: str) -> AsyncIterator[Any]:
    """A store with keys of its own."""
    opened = open_store(tmp_path / "repo", tmp_path / "offline", valkey_address, project=tmp_path.name)
    yield opened
    await close_store(opened)


@pytest.fixture
def users() -> pl.DataFrame:
    return random_user_frame(40, np.random.default_rng(1))


@pytest.fixture
def items() -> pl.DataFrame:
    return random_item_frame(5, np.random.default_rng(2))


def test_a_store_is_opened_without_an_online_store_and_registers_only_what_is_new(tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    store = open_store(tmp_path, tmp_path / "offline", nobody)
    registry = (tmp_path / "registry.db").read_bytes()
    open_store(tmp_path, tmp_path / "offline", nobody)
    assert (tmp_path / "registry.db").read_bytes() == registry
    open_store(tmp_path, tmp_path / "elsewhere", nobody)
    moved: Any = store.get_feature_view(f"item_{spec.fingerprint()}").batch_source
    assert moved.path == str(tmp_path / "elsewhere" / f"item_{spec.fingerprint()}")


def test_a_limit_holds_for_commands_and_connections_unless_the_address_says_another() -> None:
    def limits(redis: str, limit_s: float) -> set[str]:
        config: Any = repo_config(Path("repo"), redis, "aisle", limit_s=limit_s).online_store
        return {part for part in config.connection_string.split(",") if part.startswith("socket_")}

    assert limits("valkey:1", 0.5) == {"socket_timeout=0.5", "socket_connect_timeout=0.5"}
    assert limits("valkey:1", 3.0) == {"socket_timeout=3.0", "socket_connect_timeout=1"}
    assert limits("valkey:1,socket_timeout=9", 0.5) == {"socket_timeout=9", "socket_connect_timeout=0.5"}


def test_a_store_may_be_opened_by_many_at_once(tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{free_port()}"

    def open_and_list(_: int) -> int:
        return len(open_store(tmp_path / "repo", tmp_path / "offline", nobody).list_feature_views())

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(open_and_list, range(24))) == [3] * 24


def test_feast_apply_in_the_repo_folder_registers_what_open_store_does(tmp_path: Path) -> None:
    offline, redis = tmp_path / "offline", f"127.0.0.1:{free_port()}"
    places = {"AISLE_FEAST_DIR": str(tmp_path), "AISLE_OFFLINE_DIR": str(offline), "AISLE_REDIS": redis}
    environment = os.environ | places | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "feast.cli.cli", "apply"]
    done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    registry = (tmp_path / "registry.db").read_bytes()
    store = open_store(tmp_path, offline, redis)
    assert (tmp_path / "registry.db").read_bytes() == registry
    assert len(store.list_feature_views()) == 3


def test_the_yaml_file_and_open_store_configure_the_same_stores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AISLE_FEAST_DIR", str(tmp_path))
    monkeypatch.setenv("AISLE_OFFLINE_DIR", str(tmp_path))
    monkeypatch.setenv("AISLE_REDIS", "valkey:1234,db=3")
    opened = open_store(tmp_path, tmp_path, "valkey:1234,db=3")
    by_yaml = type(opened)(str(REPO)).config
    for part in ("project", "registry", "offline_store", "online_store", "entity_key_serialization_version"):
        assert getattr(by_yaml, part) == getattr(opened.config, part), part


def test_feast_finds_in_the_files_what_was_known_at_an_instant(store: Any, tmp_path: Path) -> None:
    older, newer = (random_user_frame(5, np.random.default_rng(seed)) for seed in (4, 5))
    written_path = write_offline(newer, "user", AS_OF, tmp_path / "offline")
    (written_path.parent / f".{written_path.name}.0123.tmp").write_bytes(b"PAR1 and not finished")
    write_offline(newer, "user", AS_OF - timedelta(days=7), tmp_path / "offline")
    write_offline(older, "user", AS_OF - timedelta(days=7), tmp_path / "offline")  # replaces the one before
    asked = pd.DataFrame({"user_id": ["user-3"] * 2, "event_timestamp": [AS_OF - timedelta(days=1), AS_OF]})
    wanted = [f"user_batch_{spec.fingerprint()}:{feature.name}" for feature in spec.USER_FEATURES]
    found = store.get_historical_features(asked, wanted).to_df().sort_values("event_timestamp")
    for row, frame in zip(found.to_dict("records"), (older, newer), strict=True):
        written = frame.row(3, named=True)
        for feature in spec.USER_FEATURES:
            assert np.array_equal(row[feature.name], written[feature.name]), feature.name


async def test_feasts_own_materialize_fills_the_batch_views_and_leaves_the_live_view_alone(
    store: Any, users: pl.DataFrame, items: pl.DataFrame, tmp_path: Path
) -> None:
    path = write_offline(users, "user", AS_OF, tmp_path / "offline")
    (path.parent / f".{path.name}.0123.tmp").write_bytes(b"PAR1 and not finished")
    write_offline(items[:5], "item", AS_OF, tmp_path / "offline")
    store.materialize(AS_OF - timedelta(days=1), AS_OF + timedelta(seconds=1))
    reader = UserReader(store, timeout_s=PATIENT_SECONDS)
    assert_same(await reader.read("user-1"), users.row(1, named=True))
    assert_frame_equal(read_items(store, items["item_id"][:5].to_list()), items[:5], check_exact=True)
    await UserWriter(store).push(pushed(users[2:3].with_columns(user_id=pl.lit("user-1")), AS_OF - timedelta(days=1)))
    assert_same(await reader.read("user-1"), users.row(2, named=True))


READ_WITHOUT_TORCH = """
import asyncio, sys
from pathlib import Path
from features.lean_imports import block
block("torch", "transformers", "sklearn", "matplotlib")
from features.store import UserReader, close_store, open_store

async def main() -> None:
    store = open_store(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4])
    row = await UserReader(store, timeout_s=5).read("user-1")
    await close_store(store)
    print(row["event_count"], sorted({"torch", "transformers", "sklearn", "matplotlib"} & set(sys.modules)))

asyncio.run(main())
"""


def test_a_serving_process_reads_without_torch_though_it_is_installed(
    store: Any, users: pl.DataFrame, items: pl.DataFrame, tmp_path: Path, valkey_address: str
) -> None:
    assert find_spec("torch") is not None
    materialise(store, users, items[:1], AS_OF)
    arguments = [str(tmp_path / "repo"), str(tmp_path / "offline"), valkey_address, tmp_path.name]
    command = [sys.executable, "-c", READ_WITHOUT_TORCH, *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == f"{users['event_count'][1]} []\n", done.stderr
