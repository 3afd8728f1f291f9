"""Files of service levels: what they say, and what is wrong with one that says it badly."""

from pathlib import Path

import pytest

from loadtest.levels import LevelsError, levels_file, read_levels

LOCAL = levels_file("local")


def spoiled(tmp_path: Path, old: str, new: str) -> Path:
    """The local levels with one change, which must apply."""
    text = LOCAL.read_text()
    assert old in text
    path = tmp_path / "spoiled.toml"
    path.write_text(text.replace(old, new, 1))
    return path


@pytest.mark.parametrize("environment", ["local", "staging", "production"])
def test_every_environment_has_its_levels(environment: str) -> None:
    levels = read_levels(levels_file(environment))
    assert levels.latency_of("Recommend/HOME", "p99") is not None
    assert levels.degraded_of("STALE_FEATURES") is not None
    assert set(levels.regression) == {"p50", "p99"}


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("error_share = 0.001\n", "", "error_share"),
        ("error_share = 0.001", "error_share = 1.5", "error_share"),
        ("p50_ms = 25", "p50_msec = 25", "latency.default.p50_msec"),
        ("p50_ms = 25", "p50_ms = -1", "latency.default.p50_ms"),
        ("INTEREST_FALLBACK = 0.05", 'INTEREST_FALLBACK = "none"', "degraded.INTEREST_FALLBACK"),
        ("p50 = {", "p51 = {", "regression.p51"),
        ("cpu_share = 0.85", "cpu = 0.85", "generator.cpu_share"),
        ("[generator]", "[generator", "line"),
    ],
)
def test_a_wrong_file_is_named_with_its_key(tmp_path: Path, old: str, new: str, named: str) -> None:
    path = spoiled(tmp_path, old, new)
    with pytest.raises(LevelsError, match=named) as raised:
        read_levels(path)
    assert str(path) in str(raised.value)


def test_an_unknown_environment_is_told_which_there_are() -> None:
    with pytest.raises(LevelsError, match="'moon'; there are local, production, staging"):
        levels_file("moon")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LevelsError, match=r"absent\.toml"):
        read_levels(tmp_path / "absent.toml")


def test_a_method_has_its_own_level_or_its_rpcs_or_the_default(tmp_path: Path) -> None:
    tables = '[latency.Recommend]\np50_ms = 7\n[latency."Recommend/CART"]\np99_ms = 8\n[latency.WriteEvents]'
    levels = read_levels(spoiled(tmp_path, "[latency.WriteEvents]", tables))
    assert levels.latency_of("Recommend/CART", "p99") == 8
    assert levels.latency_of("Recommend/CART", "p50") == 7
    assert levels.latency_of("Recommend", "p50") == 7
    assert levels.latency_of("Rank", "p50") == 25
    assert levels.latency_of("Recommend/CART", "p99.9") == 1500


@pytest.mark.parametrize(("share", "calls"), [(0.5, 20), (1 - 0.99, 1_000), (1 - 0.999, 10_000)])
def test_a_quantile_needs_ten_calls_beyond_it(share: float, calls: int) -> None:
    assert read_levels(LOCAL).calls_needed(share) == calls
