"""Answers that Triton gives without an error and that are none."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from services.common.scorer import ScorerUnavailable, TritonScorer
from services.common.towers import TowerModels

FAULTY: dict[str, npt.NDArray[Any] | None] = {
    "missing": None,
    "empty, as with numpy 2 in Triton's environment": np.empty(0, np.float32),
    "no interests": np.empty((1, 0, 128), np.float32),
    "another width": np.ones((1, 2, 64), np.float32),
    "another batch": np.ones((2, 2, 128), np.float32),
    "not a number": np.full((1, 2, 128), np.nan, np.float32),
    "no dimension for the interests": np.ones((1, 128), np.float32),
    "no dimensions": np.ones((), np.float32),
    "another type": np.ones((1, 2, 128), np.float64),
    "text": np.full((1, 2, 128), b"1", np.object_),
}


@dataclass(frozen=True)
class AnsweringClient:
    """Stands in for the client and for its result."""

    answer: npt.NDArray[Any] | None

    async def infer(self, *_arguments: Any, **_options: Any) -> "AnsweringClient":
        return self

    def as_numpy(self, _name: str) -> npt.NDArray[Any] | None:
        return self.answer


async def ask(answer: npt.NDArray[Any] | None) -> npt.NDArray[Any]:
    scorer = TritonScorer("nowhere:1", TowerModels.of_version("1"), AnsweringClient(answer))
    history = (np.ones((3, 128), np.float32), np.ones(3, np.int64), np.ones(3, np.float32))
    return await scorer.interest_vectors(*history, timeout_seconds=1.0)


@pytest.mark.parametrize("fault", FAULTY)
async def test_a_faulty_answer_counts_as_none(fault: str) -> None:
    with pytest.raises(ScorerUnavailable) as caught:
        await ask(FAULTY[fault])
    assert caught.value.reason == "bad_answer"
    assert "interest_tower_1: interest_vectors" in str(caught.value)


async def test_an_answer_whose_bytes_do_not_fit_its_shape_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def as_numpy(_client: AnsweringClient, _name: str) -> npt.NDArray[Any]:
        return np.ones(3, np.float32).reshape(1, 2, 128)

    monkeypatch.setattr(AnsweringClient, "as_numpy", as_numpy)
    with pytest.raises(ScorerUnavailable, match="bad_answer: interest_tower_1: interest_vectors: cannot reshape"):
        await ask(None)


async def test_a_sound_answer_is_passed_on() -> None:
    answer = np.arange(256, dtype=np.float32).reshape(1, 2, 128)
    assert (await ask(answer) == answer[0]).all()
