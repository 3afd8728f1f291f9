"""Interest vectors and text vectors from Triton, and the one error that says there are none.

The caller sends histories of any length; they leave here at the one length the models take. Every failure of the
server (late, gone, model not loaded, empty answer) is a `ScorerUnavailable`, so that the pipeline can step down its
ladder. One connection is shared by the scorers of all releases. Knows neither candidates nor features.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, Self

import grpc
import numpy as np
import numpy.typing as npt
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from services.common.towers import MAX_BATCH_SIZE, VECTOR_WIDTH, FloatArray, IntArray, TowerModels, pad_history

_CHANNEL_OPTIONS = [
    # One call to each of the servers that the name stands for, in turn; by default all go to the first.
    ("grpc.lb_policy_name", "round_robin"),
    # A restarted server is found within a second; gRPC's own back-off would grow to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_receive_message_length", -1),
]
_REASONS = {
    "StatusCode.DEADLINE_EXCEEDED": "deadline_exceeded",
    "StatusCode.UNAVAILABLE": "unavailable",
    "StatusCode.NOT_FOUND": "unknown_model",
    "StatusCode.CANCELLED": "cancelled",
}


class ScorerUnavailable(Exception):  # noqa: N818 - says what is the case, as gRPC's UNAVAILABLE does
    """Triton gave no vectors; `reason` is one of a few fixed words, fit for a metric's label."""

    def __init__(self, reason: str, detail: str = "") -> None:
        """Keep `reason` apart from `detail`, the server's own words."""
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class Scorer(Protocol):
    """What the pipeline needs of the two towers."""

    async def interest_vectors(
        self, history_vectors: FloatArray, event_types: IntArray, ages_days: FloatArray, timeout_seconds: float
    ) -> FloatArray:
        """Interest vectors of one shopper.

        Args:
            history_vectors: [T, 128] item vectors, oldest first, T ≥ 1; only the newest 50 are used.
            event_types: [T] kinds of event, > 0 (0 is padding).
            ages_days: [T] days before now.
            timeout_seconds: How long to wait at most.

        Returns:
            [K, 128], K as in the bundle; an interest score is the largest dot product with an item vector.

        Raises:
            ScorerUnavailable: No answer in time, or none at all.
            ValueError: Shapes do not fit together.
        """
        ...

    async def text_vectors(self, texts: list[str], timeout_seconds: float) -> FloatArray:
        """Item vectors [B, 128] of length one for texts of any number and length, in order.

        Raises:
            ScorerUnavailable: No answer within `timeout_seconds`, or none at all.
        """
        ...

    async def ready(self, timeout_seconds: float = 1.0) -> bool:
        """Whether both towers answer."""
        ...


class TritonScorer:
    """`Scorer` over Triton's gRPC interface, and the loading and unloading of models."""

    def __init__(
        self,
        address: str,
        models: TowerModels,
        client: InferenceServerClient | None = None,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        """Connect to `address` (host:port) on first use, or over `client`; call it in the event loop that uses it.

        Args:
            address: Triton's gRPC address.
            models: What it calls the towers.
            client: An open connection.
            credentials: TLS credentials for a connection of its own; default: no TLS.
        """
        self._address = address
        self._models = models
        self._client = client or InferenceServerClient(address, creds=credentials, channel_args=_CHANNEL_OPTIONS)

    def with_models(self, models: TowerModels) -> Self:
        """The scorer of another release, over the same connection."""
        return type(self)(self._address, models, self._client)

    async def interest_vectors(
        self, history_vectors: FloatArray, event_types: IntArray, ages_days: FloatArray, timeout_seconds: float
    ) -> FloatArray:
        """See `Scorer.interest_vectors`."""
        vectors, types, ages = pad_history(history_vectors, event_types, ages_days)
        inputs = [
            _tensor("history_vectors", vectors[np.newaxis], "FP32"),
            _tensor("event_types", types[np.newaxis], "INT64"),
            _tensor("ages_days", ages[np.newaxis], "FP32"),
        ]
        answer = await self._infer(self._models.interest, inputs, "interest_vectors", 3, timeout_seconds)
        interests: FloatArray = answer[0]
        return interests

    async def text_vectors(self, texts: list[str], timeout_seconds: float) -> FloatArray:
        """See `Scorer.text_vectors`; more than 64 texts become several requests under one deadline."""
        chunks = [texts[start : start + MAX_BATCH_SIZE] for start in range(0, len(texts), MAX_BATCH_SIZE)]
        requests = (self._infer(self._models.text, [_strings(chunk)], "vector", 2, timeout_seconds) for chunk in chunks)
        return np.concatenate([np.empty((0, VECTOR_WIDTH), np.float32), *await asyncio.gather(*requests)])

    async def ready(self, timeout_seconds: float = 1.0) -> bool:
        """See `Scorer.ready`."""
        try:
            for model in (self._models.text, self._models.interest):
                if not await self._client.is_model_ready(model, client_timeout=timeout_seconds):
                    return False
        except InferenceServerException:
            return False
        return True

    async def load(self, model: str, timeout_seconds: float = 60.0) -> None:
        """Load and warm up a model of the server's repository, with those it is made of; others keep answering.

        Raises:
            ScorerUnavailable: The model is not there, does not load, or takes too long.
        """
        with _one_error():
            await self._client.load_model(model, client_timeout=timeout_seconds)

    async def unload(self, model: str, timeout_seconds: float = 60.0) -> None:
        """Let a model, and those it is made of, finish what they have and go.

        Raises:
            ScorerUnavailable: The server does not answer.
        """
        with _one_error():
            await self._client.unload_model(model, unload_dependents=True, client_timeout=timeout_seconds)

    async def close(self) -> None:
        """Close the connection, for the scorers of all releases."""
        await self._client.close()

    async def _infer(
        self, model: str, inputs: list[InferInput], output: str, dimensions: int, timeout_seconds: float
    ) -> FloatArray:
        with _one_error():
            result = await self._client.infer(model, inputs, client_timeout=timeout_seconds)
        try:
            return _sound(result.as_numpy(output), inputs[0].shape()[0], dimensions)
        except ValueError as error:
            raise ScorerUnavailable("bad_answer", f"{model}: {output}: {error}") from error


def _sound(vectors: npt.NDArray[Any] | None, batch_size: int, dimensions: int) -> FloatArray:
    """The answer, if it is finite vectors, one or more for each entry of the batch; else ValueError."""
    if vectors is None:
        raise ValueError("missing")
    ends = (*vectors.shape[:1], *vectors.shape[-1:])
    fits = vectors.ndim == dimensions and ends == (batch_size, VECTOR_WIDTH) and vectors.size
    if not fits or vectors.dtype != np.float32:
        raise ValueError(f"{vectors.dtype} {vectors.shape}")
    if not np.isfinite(vectors).all():
        raise ValueError("not finite")
    return vectors


def _tensor(name: str, values: npt.NDArray[Any], datatype: str) -> InferInput:
    return InferInput(name, values.shape, datatype).set_data_from_numpy(values)


def _strings(texts: list[str]) -> InferInput:
    encoded = np.array([[text.encode("utf-8", errors="replace")] for text in texts], dtype=np.object_)
    return _tensor("text", encoded, "BYTES")


@contextmanager
def _one_error() -> Iterator[None]:
    try:
        yield
    except InferenceServerException as error:
        reason = _REASONS.get(error.status(), "server_error")
        raise ScorerUnavailable(reason, error.message()) from error
