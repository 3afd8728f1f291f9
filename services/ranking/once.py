"""The online store and Triton asked once for a whole page: several lists of one shopper share one answer, also where
the answer is that there is none, so that each list names what it had to do without."""

from collections.abc import Mapping
from typing import Any

from features.store import StoreUnavailable
from services.common.scorer import Scorer, ScorerUnavailable
from services.common.towers import FloatArray, IntArray
from services.ranking.pipeline import Users


class UsersOnce:
    """A `Users` for one shopper."""

    def __init__(self, users: Users, visitor_id: str = "") -> None:
        """Ask `users` at the first call, for the row of `visitor_id` where the shopper has none."""
        self._users = users
        self._visitor_id = visitor_id
        self._answer: Mapping[str, Any] | None = None
        self._state = "unasked"

    async def read(self, user_id: str) -> Mapping[str, Any] | None:
        """See `Users.read`; every call must name the same shopper."""
        if self._state == "failed":
            raise StoreUnavailable("did not answer this page's first question")
        if self._state == "unasked":
            self._state = "failed"  # unless it answers, also where the caller gives up waiting
            answer = await self._users.read(user_id)
            if answer is None and self._visitor_id not in ("", user_id):
                answer = await self._users.read(self._visitor_id)
            self._answer = answer
            self._state = "answered"
        return self._answer


class ScorerOnce:
    """A `Scorer` for one shopper."""

    def __init__(self, scorer: Scorer) -> None:
        """Ask `scorer` at the first call."""
        self._scorer = scorer
        self._answers: dict[bytes, FloatArray | ScorerUnavailable] = {}

    async def interest_vectors(
        self, history_vectors: FloatArray, event_types: IntArray, ages_days: FloatArray, timeout_seconds: float
    ) -> FloatArray:
        """See `Scorer.interest_vectors`; asked once for each history (lists of a page may have contexts of their
        own)."""
        history = history_vectors.tobytes()
        if history not in self._answers:
            try:
                self._answers[history] = await self._scorer.interest_vectors(
                    history_vectors, event_types, ages_days, timeout_seconds
                )
            except ScorerUnavailable as error:
                self._answers[history] = error
        answer = self._answers[history]
        if isinstance(answer, ScorerUnavailable):
            raise answer
        return answer

    async def text_vectors(self, texts: list[str], timeout_seconds: float) -> FloatArray:
        """See `Scorer.text_vectors`."""
        return await self._scorer.text_vectors(texts, timeout_seconds)

    async def ready(self, timeout_seconds: float = 1.0) -> bool:
        """See `Scorer.ready`."""
        return await self._scorer.ready(timeout_seconds)
