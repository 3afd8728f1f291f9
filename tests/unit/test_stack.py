"""What the stack tells its services, and which shoppers the demo shows."""

import argparse
import contextlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest

from services import demo, stack
from services.common.process import ManagedProcess, ProcessError, free_port
from services.demo import middling_shoppers
from services.ingest.settings import IngestSettings
from services.ingest.updater.settings import UpdaterSettings
from services.ranking.settings import RankingSettings
from services.retrieval.app import RetrievalSettings
from services.stack import Part, Stack, StackConfig, add_options, config_of
from services.triton.__main__ import TritonSettings

PARTS = ("valkey", "triton", "triton_http", "triton_metrics", "retrieval", "ranking", "ingest", "updater")
PORTS = {name: number for number, name in enumerate(PARTS, start=1)}
SETTINGS = (RankingSettings, RetrievalSettings, TritonSettings, IngestSettings, UpdaterSettings)


class ProcessStandIn:
    """A process that was never started."""

    def __init__(self, name: str, pid: int) -> None:
        self.name, self.pid, self.log_path = name, pid, Path(f"logs/{name}.log")


def _stand_in(name: str, pid: int) -> ManagedProcess:
    return cast(ManagedProcess, ProcessStandIn(name, pid))


def events_of(**counts: int) -> pl.DataFrame:
    return pl.DataFrame({"user_id": [user for user, count in counts.items() for _ in range(count)]})


def test_the_services_find_one_another_through_their_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    config = StackConfig(data="synthetic", bundles=Path("b"), build=Path("out"), triton_venv=Path("v"), clock="as-of")
    for key, value in stack._environment(config, PORTS).items():
        monkeypatch.setenv(key, value)
    ranking, retrieval, triton = RankingSettings.read(), RetrievalSettings.read(), TritonSettings.read()
    ingest, updater = IngestSettings.read(), UpdaterSettings.read()
    services = (ranking, retrieval, triton, ingest, updater)
    assert {service.bundles for service in services} == {Path("b")}
    assert ranking.clock == "as-of"
    assert ranking.redis == ingest.redis == updater.redis == "127.0.0.1:1"
    assert ranking.triton_address == ingest.triton_address == "127.0.0.1:2"
    assert (ingest.ingest_port, updater.updater_port) == (7, 8)
    assert ingest.live_dir == updater.live_dir == Path("out/live")
    assert ingest.training_dir == Path("out")
    assert (ranking.ranking_port, retrieval.retrieval_port) == (6, 5)
    assert (triton.triton_grpc_port, triton.triton_http_port, triton.triton_metrics_port) == (2, 3, 4)
    assert (triton.triton_venv, triton.triton_work_dir) == (Path("v"), Path("out/triton"))
    assert ranking.feast_dir == ingest.feast_dir == updater.feast_dir == Path("out/feast")
    assert ranking.offline_dir == ingest.offline_dir == updater.offline_dir == Path("out/offline")


def test_every_key_that_the_stack_sets_is_one_that_a_service_reads() -> None:
    own = set(stack._environment(StackConfig(data="synthetic"), PORTS)) - set(os.environ)
    own -= {"OMP_NUM_THREADS", "POLARS_MAX_THREADS"}
    known = {f"AISLE_{name.upper()}" for settings in SETTINGS for name in settings.model_fields}
    assert own - known == set()
    assert len(own) > 10


def test_the_listing_names_every_process_with_its_address_and_log() -> None:
    running = Stack()
    for pid, name in enumerate(("valkey", "ranking"), start=7):
        running.start(name, partial(_stand_in, name, pid), f"127.0.0.1:{pid}")
    assert running.parts() == [
        Part("valkey", 7, "127.0.0.1:7", "logs/valkey.log"),
        Part("ranking", 8, "127.0.0.1:8", "logs/ranking.log"),
    ]


def test_what_runs_and_where_is_read_from_the_command_line() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser)
    options = parser.parse_args(
        ["--data", "synthetic", "--bundles", "b", "--build", "out", "--port", "0", "--triton-venv", "v"]
    )
    assert config_of(options) == StackConfig(
        data="synthetic", bundles=Path("b"), build=Path("out"), triton_venv=Path("v"), ranking_port=0
    )
    assert config_of(parser.parse_args([])).data == "complete-journey"


def test_an_address_at_which_nobody_listens_is_not_serving() -> None:
    assert not stack.serving(f"127.0.0.1:{free_port()}")()


# the demo's shoppers


def test_the_shown_shoppers_are_at_the_quartiles_of_activity() -> None:
    known = events_of(**{f"user-{count}": count for count in range(1, 101)})
    assert middling_shoppers(known) == ["user-26", "user-51", "user-76"]


def test_the_shown_shoppers_do_not_depend_on_the_order_of_the_events() -> None:
    known = events_of(ann=2, bob=2, cid=2, dan=2, eve=2, fay=5, gus=1)
    shown = {tuple(middling_shoppers(known.sample(fraction=1.0, shuffle=True, seed=seed))) for seed in range(20)}
    assert len(shown) == 1


def test_a_shop_of_one_shopper_shows_that_one() -> None:
    assert middling_shoppers(events_of(ann=3)) == ["ann", "ann", "ann"]


# faults and ends


@contextlib.contextmanager
def failing(_config: StackConfig) -> Iterator[Stack]:
    raise ProcessError("triton: ended with status 1")
    yield Stack()


@pytest.mark.parametrize(("command", "name"), [(stack, "stack"), (demo, "demo")])
def test_a_part_that_does_not_start_ends_the_command_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, command: Any, name: str
) -> None:
    monkeypatch.setattr(command, "running_stack", failing)
    with pytest.raises(SystemExit, match=f"^{name}: triton: ended with status 1$"):
        command.main([])
