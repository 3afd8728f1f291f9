"""Stand-ins for what is slow, outside or broken, each with the interface of the real thing."""

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from features.vocab import Rows
from services.common.scorer import ScorerUnavailable
from services.common.towers import VECTOR_WIDTH, FloatArray, IntArray, pad_history
from services.ranking.ordering import Mask

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
        tokenizer.enable_truncation(json.loads((root / "text_tower/config.json").read_text())["max_tokens"])

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


class FakeUsers:
    """Shoppers' rows in a dictionary; set `failure` and it raises that, `hangs` and it never answers."""

    def __init__(self, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """Args: rows: shopper's id → feature name → value."""
        self.failure: Exception | None = None
        self.hangs = False
        self._rows = rows

    async def read(self, user_id: str) -> Mapping[str, Any] | None:
        """See `Users.read`."""
        if self.failure:
            raise self.failure
        if self.hangs:
            await asyncio.Event().wait()
        return self._rows.get(user_id)


class FakeRetriever:
    """A `Retriever` that compares with every item; set `failure` and it raises that, as if the service were gone."""

    def __init__(self, item_vectors: FloatArray) -> None:
        """Args: item_vectors: [N, 128], in the order of the rows."""
        self.failure: Exception | None = None
        self._item_vectors = item_vectors

    async def nearest(
        self,
        interest_vectors: FloatArray,
        count: int,
        allowed: Mask,
        timeout_seconds: float,  # noqa: ARG002 - the interface's
    ) -> Rows:
        """See `Retriever.nearest`; rows of equal score in ascending order."""
        if self.failure:
            raise self.failure
        scores = (self._item_vectors @ interest_vectors.T).max(axis=1)
        best_first = np.argsort(-scores, kind="stable").astype(np.int32)
        return best_first[allowed[best_first]][:count]
