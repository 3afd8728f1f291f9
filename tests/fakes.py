"""Stand-ins for what is slow, outside or broken, each with the interface of the real thing."""

from collections.abc import Callable
from pathlib import Path
from typing import Self

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from services.common.towers import VECTOR_WIDTH
from services.ranking.scorer import FloatArray, IntArray, ScorerUnavailable, pad_history

TextTower = Callable[[str], FloatArray]
"""Text → item vector [128]."""
InterestTower = Callable[[FloatArray, IntArray, FloatArray], FloatArray]
"""history_vectors [50, 128], event_types [50], ages_days [50] → interest vectors [K, 128]."""


class FakeScorer:
    """A `Scorer` in this process; set `failure` and it raises that, as if Triton were gone."""

    def __init__(self, interest_tower: InterestTower, text_tower: TextTower) -> None:
        """Answer with what the two functions return."""
        self.failure: ScorerUnavailable | None = None
        self._interest_tower = interest_tower
        self._text_tower = text_tower

    @classmethod
    def of_arrays(cls, interest_vectors: FloatArray, text_vector: FloatArray) -> Self:
        """Always the same answer: interest vectors [K, 128], and one vector [128] for any text."""
        return cls(lambda *_: interest_vectors, lambda _: text_vector)

    @classmethod
    def of_bundle(cls, root: Path) -> Self:
        """The towers of a bundle run by ONNX Runtime, one text at a time, so that no padding is involved."""
        text, interest = (
            onnxruntime.InferenceSession(root / f"{tower}_tower/model.onnx") for tower in ("text", "interest")
        )
        tokenizer = Tokenizer.from_file(str(root / "text_tower/tokenizer.json"))
        tokenizer.enable_truncation(64)

        def text_tower(words: str) -> FloatArray:
            ids = np.array([tokenizer.encode(words.encode(errors="replace").decode()).ids], dtype=np.int64)
            vector: FloatArray = text.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][0]
            return vector

        def interest_tower(history_vectors: FloatArray, event_types: IntArray, ages_days: FloatArray) -> FloatArray:
            names = ("history_vectors", "event_types", "ages_days")
            batch = (part[np.newaxis] for part in (history_vectors, event_types, ages_days))
            vectors: FloatArray = interest.run(None, dict(zip(names, batch, strict=True)))[0][0]
            return vectors

        return cls(interest_tower, text_tower)

    async def interest_vectors(
        self,
        history_vectors: FloatArray,
        event_types: IntArray,
        ages_days: FloatArray,
        timeout_seconds: float,  # noqa: ARG002 - the interface's
    ) -> FloatArray:
        """See `Scorer.interest_vectors`."""
        history = pad_history(history_vectors, event_types, ages_days)
        self._raise_failure()
        return self._interest_tower(*history)

    async def text_vectors(self, texts: list[str], timeout_seconds: float) -> FloatArray:  # noqa: ARG002
        """See `Scorer.text_vectors`."""
        self._raise_failure()
        return np.array([self._text_tower(text) for text in texts], np.float32).reshape(-1, VECTOR_WIDTH)

    async def ready(self, timeout_seconds: float = 1.0) -> bool:  # noqa: ARG002
        """See `Scorer.ready`."""
        return self.failure is None

    def _raise_failure(self) -> None:
        if self.failure:
            raise self.failure
