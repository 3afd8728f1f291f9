"""The exported towers compute what torch computes, whatever the shape; one that does not never leaves."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from features import spec
from tests.tiny_encoder import write_tiny_encoder
from training import export
from training.config import VECTOR_SIZE, InterestTowerConfig, TextTowerConfig
from training.export import (
    ExportError,
    export_interest_tower,
    export_text_tower,
    onnx_interest_run,
    open_session,
    torch_interest_run,
)
from training.interest_tower import InterestTower, ItemVectors
from training.text_tower import TextTower, Tokens, open_text_tower

pytestmark = pytest.mark.usefixtures("one_thread")

Weights = npt.NDArray[np.float32]
WORDS = ["a", "short", "text", "longer", "one", "two", "three", "little", "words"]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> tuple[TextTower, Tokens]:
    folder = write_tiny_encoder(tmp_path_factory.mktemp("encoder"), WORDS, layers=2)
    return open_text_tower(TextTowerConfig(encoder=folder, trained_layers=1))


@pytest.fixture(scope="module")
def interest() -> InterestTower:
    torch.manual_seed(0)
    return InterestTower(InterestTowerConfig(interest_count=2, layers=1))


@pytest.fixture(scope="module")
def adapter() -> nn.Linear:
    """Nothing like the identity, so that a file without it is noticed."""
    torch.manual_seed(1)
    return nn.Linear(VECTOR_SIZE, VECTOR_SIZE, bias=False)


@pytest.fixture(scope="module")
def text_file(text: tuple[TextTower, Tokens], adapter: nn.Linear, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tower, tokens = text
    path = tmp_path_factory.mktemp("text") / "tower" / "model.onnx"
    export_text_tower(tower, adapter, tokens, path)
    return path


@pytest.fixture(scope="module")
def interest_file(interest: InterestTower, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("interest") / "tower" / "model.onnx"
    export_interest_tower(interest, path)
    return path


@pytest.mark.parametrize(("batch", "length"), [(1, 1), (1, 40), (2, 13), (7, 5), (33, 2)])
def test_the_text_tower_reads_any_number_of_texts_of_any_length(
    text: tuple[TextTower, Tokens], adapter: nn.Linear, text_file: Path, batch: int, length: int
) -> None:
    generator = torch.Generator().manual_seed(batch)
    ids = torch.randint(4, 4 + len(WORDS), (batch, length), generator=generator)
    mask = (torch.arange(length) < torch.randint(1, length + 1, (batch, 1), generator=generator)).long()
    with torch.inference_mode():
        expected = adapter(text[0](ids, mask)).numpy()
    (found,) = open_session(text_file).run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
    assert found.shape == (batch, VECTOR_SIZE)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(("batch", "length"), [(1, 1), (1, spec.HISTORY_LENGTH), (3, 7), (17, 50)])
def test_the_interest_tower_reads_any_number_of_histories_of_any_length(
    interest: InterestTower, interest_file: Path, batch: int, length: int
) -> None:
    rng = np.random.default_rng(batch)
    vectors = rng.standard_normal((batch, length, VECTOR_SIZE)).astype(np.float32)
    types = rng.integers(0, len(spec.EVENT_TYPES) + 1, (batch, length))
    ages = rng.uniform(0, 400, (batch, length)).astype(np.float32)
    found = onnx_interest_run(interest_file)(vectors, types, ages)
    assert found.shape == (batch, 2, VECTOR_SIZE)
    np.testing.assert_allclose(found, torch_interest_run(interest)(vectors, types, ages), atol=1e-4)


def test_the_files_keep_the_names_that_serving_asks_by(text_file: Path, interest_file: Path) -> None:
    text_session, interest_session = open_session(text_file), open_session(interest_file)
    assert {value.name for value in text_session.get_inputs()} == {"input_ids", "attention_mask"}
    assert [value.name for value in text_session.get_outputs()] == ["vectors"]
    assert {value.name for value in interest_session.get_inputs()} == {"history_vectors", "event_types", "ages_days"}
    assert [value.name for value in interest_session.get_outputs()] == ["interest_vectors"]
    assert [path.name for path in text_file.parent.iterdir()] == ["model.onnx"]


def test_a_files_vector_of_a_text_is_the_items_without_its_residual(
    text: tuple[TextTower, Tokens], adapter: nn.Linear, text_file: Path
) -> None:
    tower, tokens = text
    ids, mask = tokens(["one short text", "two words"])
    with torch.inference_mode():
        items = ItemVectors(tower(ids, mask), dropout=0.0)
        items.adapter.load_state_dict(adapter.state_dict())
        expected = items.all().numpy()
    (found,) = open_session(text_file).run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
    np.testing.assert_allclose(found, expected, atol=1e-4)


Change = Callable[[Weights], Weights]


def hand_out(source: Path, change: Change) -> Callable[..., None]:
    """An exporter that writes a finished graph, with its largest weight changed."""

    def write(*arguments: object) -> None:
        graph = onnx.load(source)
        largest = max(graph.graph.initializer, key=lambda tensor: int(np.prod(tensor.dims)))
        largest.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(largest)), largest.name))
        onnx.save(graph, str(arguments[-1]))

    return write


@pytest.mark.parametrize("tower", ["text", "interest"])
@pytest.mark.parametrize(
    ("change", "is_refused"),
    [
        (lambda weights: weights, False),
        (lambda weights: weights * np.float32(1.01), True),
        (lambda weights: np.full_like(weights, np.nan), True),
    ],
    ids=["unchanged", "scaled", "not a number"],
)
def test_a_graph_that_computes_something_else_does_not_leave(
    *,
    text: tuple[TextTower, Tokens],
    adapter: nn.Linear,
    interest: InterestTower,
    text_file: Path,
    interest_file: Path,
    tower: str,
    change: Change,
    is_refused: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = text_file if tower == "text" else interest_file
    path = tmp_path / f"{tower}.onnx"
    monkeypatch.setattr(export, "_export", hand_out(source, change))
    refusal = pytest.raises(ExportError, match=rf"{tower}\.onnx: differs from torch by .*, at most 1e-04 is allowed")
    with refusal if is_refused else contextlib.nullcontext():
        if tower == "text":
            export_text_tower(text[0], adapter, text[1], path)
        else:
            export_interest_tower(interest, path)
