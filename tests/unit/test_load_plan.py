"""The generator's command line."""

from dataclasses import asdict
from pathlib import Path

import pytest

from loadtest.plan import Conducting, Working, read_options
from loadtest.profiles import PROFILES
from loadtest.running import Load

BASE = ["--ranking", "shop:8010", "--out", "run"]


def conducted(*options: str) -> Conducting:
    read = read_options([*BASE, *options])
    assert isinstance(read, Conducting)
    return read


def test_a_profile_and_its_base_rate() -> None:
    options = conducted(
        "--profile", "release", "--visits-per-second", "12.5", "--workers", "3", "--ingest", "shop:8012"
    )
    plan = options.plan
    assert (options.out, plan.ranking, plan.ingest) == (Path("run"), "shop:8010", "shop:8012")
    assert (plan.profile, plan.rates(), plan.visits_per_second) == ("release", PROFILES["release"], 12.5)
    assert (plan.workers, options.remote_workers) == (3, 0)


def test_a_constant_rate() -> None:
    plan = conducted("--rate-seconds", "40", "20", "--ingest", "none").plan
    assert (plan.profile, plan.visits_per_second, plan.rates().seconds, plan.ingest) == ("constant", 40.0, 20.0, None)


def test_a_generator_is_told_all_that_a_load_says() -> None:
    load = Load(
        ranking="shop:8010",
        ingest="shop:8012",
        environment="staging",
        bundle=Path("bundles/one"),
        data="parquet:shop",
        cache=Path("build/here/data"),
        journeys="all",
        seed=7,
        workers=2,
        timeout_seconds=1.5,
        remote_workers=1,
    )
    [_python, _m, module, *words] = load.command(Path("run"), "--rate-seconds", 3, 4)
    assert module == "loadtest.generator"
    conducting = read_options(words)
    assert isinstance(conducting, Conducting)
    told = asdict(conducting.plan)
    same = ("ranking", "ingest", "environment", "data", "journeys", "seed", "timeout_seconds", "connections")
    assert {name: told[name] for name in same} == {name: getattr(load, name) for name in same}
    assert (told["bundle"], told["cache"], told["workers"]) == ("bundles/one", "build/here/data", 3)


def test_remote_workers_are_workers_too() -> None:
    assert conducted("--rate-seconds", "1", "1", "--workers", "0", "--remote-workers", "2").plan.workers == 2


def test_a_worker_needs_its_master_only() -> None:
    assert read_options(["--worker", "--master-host", "m"]) == Working(master_host="m", master_port=5557)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--visits-per-second is required"),
        (["--rate-seconds", "0", "5"], "0: must be above 0"),
        (["--rate-seconds", "nan", "5"], "nan: must be above 0"),
        (["--visits-per-second", "5", "--profile", "swim"], "swim"),
        (["--rate-seconds", "5", "5", "--bundle", "none"], "--journeys all needs a --bundle"),
        (["--rate-seconds", "5", "5", "--workers", "-1"], "-1: must be at least 0"),
        (["--rate-seconds", "5", "5", "--workers", "0"], "no workers"),
    ],
)
def test_wrong_usage_is_named(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read_options([*BASE, *options])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_run_without_a_target_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_options(["--out", "run", "--rate-seconds", "1", "1"])
    assert "--ranking is required" in capsys.readouterr().err
