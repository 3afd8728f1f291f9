"""The child process that makes the ranker's machine code."""

from pathlib import Path

import numpy as np
import pytest

from features import spec
from services.ranking.compiling import CompilingError, compiled_aside, compiled_meanwhile
from services.ranking.ordering import Ranker
from tests.tiny_shop import tiny_shop


async def test_the_childs_code_gives_the_models_scores(tmp_path: Path) -> None:
    text = tiny_shop(seed=1).ranker_text
    model = tmp_path / "ranker.txt"
    model.write_text(text)
    ranker = Ranker(text)
    async with compiled_aside(model) as code:
        made = code.read_bytes()
        ranker.compile(code)
        assert code.read_bytes() == made
    matrix = np.random.default_rng(0).standard_normal((50, len(spec.MATRIX_COLUMNS))).astype(np.float32)
    np.testing.assert_allclose(ranker.score(matrix), Ranker(text).score(matrix), atol=1e-6)
    assert not code.exists()  # it is in memory by now
    np.testing.assert_allclose(ranker.score(matrix), Ranker(text).score(matrix), atol=1e-6)


def test_the_code_that_is_made_meanwhile_gives_the_same_scores_to_the_bit(tmp_path: Path) -> None:
    text = tiny_shop(seed=1).ranker_text
    model = tmp_path / "ranker.txt"
    model.write_text(text)
    ranker = Ranker(text)
    with compiled_meanwhile(model) as wait:
        code = wait()
        assert code is not None
        ranker.compile(code)
    assert not code.exists()
    matrix = np.random.default_rng(0).standard_normal((50, len(spec.MATRIX_COLUMNS))).astype(np.float32)
    np.testing.assert_array_equal(ranker.score(matrix), Ranker(text).score(matrix))


def test_what_is_no_model_is_made_into_no_code_meanwhile(tmp_path: Path) -> None:
    with compiled_meanwhile(tmp_path / "ranker.txt") as wait:
        assert wait() is None


async def test_what_is_no_model_is_an_error_with_the_childs_last_words(tmp_path: Path) -> None:
    model = tmp_path / "ranker.txt"
    with pytest.raises(CompilingError, match=r"ranker\.txt: status 1: (.|\n)*FileNotFoundError"):
        async with compiled_aside(model):
            pass


async def test_workers_of_one_service_make_the_code_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AISLE_WORKER_FOLDER", str(tmp_path / "shared"))
    (tmp_path / "shared").mkdir()
    model = _model(tmp_path, "v1")
    (tmp_path / "shared" / "v1.ranker.draft").write_text("of a child that was killed")
    async with compiled_aside(model) as first, compiled_aside(model) as second:
        assert first == second
        made = first.stat()
    with compiled_meanwhile(model) as wait:
        assert wait() == first
    assert (first.stat().st_ino, first.stat().st_mtime_ns) == (made.st_ino, made.st_mtime_ns)


async def test_the_latest_codes_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AISLE_WORKER_FOLDER", str(tmp_path / "shared"))
    (tmp_path / "shared").mkdir()
    for number in range(5):
        async with compiled_aside(_model(tmp_path, f"v{number}")):
            pass
    assert {code.name for code in (tmp_path / "shared").iterdir()} == {f"v{number}.ranker.o" for number in (2, 3, 4)}


def _model(folder: Path, version: str) -> Path:
    """A ranker where a bundle has it."""
    model = folder / version / "ranker.txt"
    model.parent.mkdir()
    model.write_text(tiny_shop(seed=1).ranker_text)
    return model
