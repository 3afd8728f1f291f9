"""The towers behind the real tritonserver: right values, several versions side by side."""

import asyncio
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from tritonclient.grpc import InferenceServerClient

from services.common.scorer import ScorerUnavailable, TritonScorer
from services.common.towers import FloatArray, TowerModels
from services.triton.repository import build_repository
from tests.contracts.test_scorer import History, a_history
from tests.fakes import FakeScorer
from tests.integration.conftest import TinyTriton
from tests.tiny_bundle import write_tiny_bundle

TIMEOUT_SECONDS = 10.0
ODD_TEXTS = ["", " ", "milk", "Red WINE, 750 ml", "ワイン 🍷 crème brûlée", "wine " * 2000, "x" * 10_000, "a\x00b"]


def add_version(triton: TinyTriton, directory: Path, version: str, seed: int) -> tuple[TowerModels, FakeScorer]:
    """Build another version of the tiny towers into the running server's repository; not loaded yet."""
    write_tiny_bundle(directory / version, version, seed)
    build_repository(directory / version, "cpu", triton.repository)
    return TowerModels.of_version(version), FakeScorer.of_bundle(directory / version)


def runs(triton: TinyTriton) -> int:
    """How often the interest tower has run so far; a batch is one run."""
    with InferenceServerClient(triton.process.grpc_address) as client:
        (statistics,) = client.get_inference_statistics(triton.models.interest).model_stats
    return int(statistics.execution_count)


@pytest.mark.parametrize("text", ODD_TEXTS, ids=lambda text: repr(text[:10]))
async def test_a_text_has_the_vector_that_onnx_runtime_gives(
    tiny_triton: TinyTriton, triton_scorer: TritonScorer, text: str
) -> None:
    expected = await tiny_triton.oracle.text_vectors([text], TIMEOUT_SECONDS)
    np.testing.assert_allclose(await triton_scorer.text_vectors([text], TIMEOUT_SECONDS), expected, atol=1e-5)


async def test_texts_of_all_lengths_in_concurrent_requests_have_the_vectors_that_onnx_runtime_gives(
    tiny_triton: TinyTriton, triton_scorer: TritonScorer
) -> None:
    requests = [[*ODD_TEXTS, *("wine " * length for length in range(size))] for size in range(30)]
    found = await asyncio.gather(*(triton_scorer.text_vectors(texts, TIMEOUT_SECONDS) for texts in requests))
    for texts, vectors in zip(requests, found, strict=True):
        np.testing.assert_allclose(vectors, await tiny_triton.oracle.text_vectors(texts, TIMEOUT_SECONDS), atol=1e-5)


async def test_histories_of_all_lengths_at_once_have_the_interests_that_onnx_runtime_gives(
    tiny_triton: TinyTriton, triton_scorer: TritonScorer
) -> None:
    async def ask(scorer: TritonScorer | FakeScorer, history: History) -> FloatArray:
        return await scorer.interest_vectors(*history, TIMEOUT_SECONDS)

    histories = [a_history(length, seed=length) for length in range(1, 81)]
    runs_before = runs(tiny_triton)
    found = await asyncio.gather(*(ask(triton_scorer, history) for history in histories))
    expected = [await ask(tiny_triton.oracle, history) for history in histories]
    np.testing.assert_allclose(np.stack(found), np.stack(expected), atol=1e-5)
    assert runs(tiny_triton) - runs_before < len(histories), "no two requests were batched"


async def test_an_answer_that_comes_too_late_is_an_error_in_time_and_the_next_one_is_right(
    tiny_triton: TinyTriton, triton_scorer: TritonScorer
) -> None:
    stubs = psutil.Process(tiny_triton.process.pid).children()
    (stub,) = [stub for stub in stubs if any(tiny_triton.models.interest in part for part in stub.cmdline())]
    stub.suspend()
    try:
        started = time.monotonic()
        with pytest.raises(ScorerUnavailable) as caught:
            await triton_scorer.interest_vectors(*a_history(50), timeout_seconds=0.2)
        assert caught.value.reason == "deadline_exceeded"
        assert 0.1 < time.monotonic() - started < 1.0
    finally:
        stub.resume()
    found = await triton_scorer.interest_vectors(*a_history(7), TIMEOUT_SECONDS)
    expected = await tiny_triton.oracle.interest_vectors(*a_history(7), TIMEOUT_SECONDS)
    np.testing.assert_allclose(found, expected, atol=1e-5)


async def test_vectors_that_are_not_finite_are_no_answer(triton_scorer: TritonScorer) -> None:
    vectors, types, ages = a_history(5)
    vectors[2, 3] = np.nan
    with pytest.raises(ScorerUnavailable, match="interest_vectors: not finite"):
        await triton_scorer.interest_vectors(vectors, types, ages, TIMEOUT_SECONDS)


async def test_a_new_version_is_loaded_while_the_old_one_answers_and_then_replaces_it(
    tiny_triton: TinyTriton, triton_scorer: TritonScorer, tmp_path: Path
) -> None:
    old, old_oracle = add_version(tiny_triton, tmp_path, "tiny.old", seed=2)
    new, new_oracle = add_version(tiny_triton, tmp_path, "tiny.new", seed=3)
    await triton_scorer.load(old.text)
    old_scorer, new_scorer = triton_scorer.with_models(old), triton_scorer.with_models(new)

    loading = asyncio.create_task(triton_scorer.load(new.text))
    answers = []
    while not loading.done():
        answers.append(await old_scorer.text_vectors(["wine"], TIMEOUT_SECONDS))
    await loading
    assert len(answers) >= 2
    expected = await old_oracle.text_vectors(["wine"], TIMEOUT_SECONDS)
    np.testing.assert_allclose(np.concatenate(answers), np.repeat(expected, len(answers), axis=0), atol=1e-5)

    await triton_scorer.unload(old.text)
    found = await new_scorer.text_vectors(["wine"], TIMEOUT_SECONDS)
    np.testing.assert_allclose(found, await new_oracle.text_vectors(["wine"], TIMEOUT_SECONDS), atol=1e-5)
    assert np.abs(found - expected).max() > 0.01
    with pytest.raises(ScorerUnavailable) as caught:
        await old_scorer.text_vectors(["wine"], TIMEOUT_SECONDS)
    assert caught.value.reason == "unknown_model"


async def test_loading_a_model_that_is_not_in_the_repository_is_an_error(triton_scorer: TritonScorer) -> None:
    with pytest.raises(ScorerUnavailable, match="never_built"):
        await triton_scorer.load("text_tower_never_built")
