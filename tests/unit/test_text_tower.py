"""The text tower reads as its encoder does, from stored activations too, and starts as the encoder compressed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel

from tests.tiny_encoder import WIDTH, write_tiny_encoder
from training import activations
from training.activations import FrozenActivations, pooled_catalogue, principal_projection, set_projection, text_vectors
from training.config import VECTOR_SIZE, TextTowerConfig
from training.text_tower import TextTower, encoder_path, open_text_tower

pytestmark = pytest.mark.usefixtures("one_thread")

WORDS = ["oat", "cow", "milk", "rye", "white", "bread", "green", "black", "tea", "fresh", "big", "small", "of", "the"]
FP16 = 2e-3
"""How far the frozen layers' stored activations may move a number."""


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_tiny_encoder(tmp_path_factory.mktemp("encoder"), WORDS)


TEXTS = ["oat milk", "cow milk fresh and big", "rye bread", "the green tea of the small black cow", "tea"]


@pytest.mark.parametrize("trained_layers", [0, 1, 2])
def test_however_the_layers_are_split_the_text_is_read_as_the_encoder_reads_it(
    encoder: str, trained_layers: int
) -> None:
    tower, tokens = open_text_tower(TextTowerConfig(encoder=encoder, trained_layers=trained_layers))
    ids, mask = tokens(TEXTS)
    with torch.inference_mode():
        whole = AutoModel.from_pretrained(encoder).eval()(input_ids=ids, attention_mask=mask).last_hidden_state
        mean = (whole * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        torch.testing.assert_close(tower.pooled(tower.activations(ids, mask), mask), mean, atol=1e-5, rtol=1e-4)
        vectors = tower(ids, mask)
        torch.testing.assert_close(vectors, functional.normalize(tower.projection(mean)), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(len(TEXTS)))


def test_a_text_has_the_same_vector_alone_and_padded_among_longer_ones(encoder: str) -> None:
    tower, tokens = open_text_tower(TextTowerConfig(encoder=encoder))
    with torch.inference_mode():
        together = tower(*tokens(TEXTS))
        for position, text in enumerate(TEXTS):
            torch.testing.assert_close(tower(*tokens([text]))[0], together[position], atol=1e-5, rtol=1e-4)


def test_long_texts_are_cut(encoder: str) -> None:
    _, tokens = open_text_tower(TextTowerConfig(encoder=encoder, max_tokens=4))
    ids, mask = tokens(["tea", "green tea of the cow"])
    assert ids.shape == mask.shape == (2, 4)
    assert mask.tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]


def test_only_the_topmost_layers_and_the_projection_learn(encoder: str) -> None:
    tower, _ = open_text_tower(TextTowerConfig(encoder=encoder, trained_layers=1))
    learning = {name.split(".")[0] for name, parameter in tower.named_parameters() if parameter.requires_grad}
    still = {name.split(".")[0] for name, parameter in tower.named_parameters() if not parameter.requires_grad}
    assert learning == {"upper", "projection"}
    assert still == {"embeddings", "lower"}


def test_an_encoder_narrower_than_the_vectors_is_refused(encoder: str) -> None:
    narrow = AutoModel.from_config(AutoConfig.from_pretrained(encoder, hidden_size=64))  # type: ignore[no-untyped-call]
    with pytest.raises(ValueError, match="is 64 wide; vectors of 128 need at least that"):
        TextTower(narrow, trained_layers=1)


def test_more_layers_than_there_are_and_what_is_no_encoder_are_refused(encoder: str) -> None:
    with pytest.raises(ValueError, match="BertModel has 2 layers; 3 cannot be trained"):
        open_text_tower(TextTowerConfig(encoder=encoder, trained_layers=3))
    with pytest.raises(ValueError, match=r"Linear is no encoder: config\.hidden_size is missing"):
        TextTower(nn.Linear(2, 2), 0)


def test_an_encoder_that_is_not_there_is_an_error_and_no_download(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no-such-model: no encoder there \(config.json is missing\)"):
        encoder_path(str(tmp_path / "no-such-model"))
    assert (encoder_path("minilm") / "config.json").is_file()


def test_stored_activations_lead_to_the_same_vectors(encoder: str) -> None:
    tower, tokens = open_text_tower(TextTowerConfig(encoder=encoder, trained_layers=1))
    stored = FrozenActivations(tower, tokens, TEXTS, batch_size=2)
    with torch.inference_mode():
        for which in ([4], [0, 4], [3, 1, 0, 2, 4]):
            hidden, mask = stored(torch.tensor(which))
            ids, _ = tokens([TEXTS[i] for i in which])
            assert hidden.shape == (*ids.shape, WIDTH)
            torch.testing.assert_close(
                tower.head(hidden, mask), tower(*tokens([TEXTS[i] for i in which])), atol=FP16, rtol=0
            )


def test_batches_are_read_in_length_buckets_and_come_back_in_order(
    encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower, tokens = open_text_tower(TextTowerConfig(encoder=encoder, trained_layers=1))
    stored = FrozenActivations(tower, tokens, TEXTS)
    shapes: list[int] = []
    pooled = tower.pooled

    def watched(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        shapes.append(mask.shape[1])
        return pooled(hidden, mask)

    monkeypatch.setattr(activations, "_BUCKET", 2)
    monkeypatch.setattr(tower, "pooled", watched)
    vectors = text_vectors(tower, stored)
    assert shapes == sorted(shapes)
    assert shapes[0] < shapes[-1]
    with torch.inference_mode():
        np.testing.assert_allclose(vectors, tower(*tokens(TEXTS)).numpy(), atol=FP16)


def test_the_projection_starts_as_the_principal_components_of_the_texts(encoder: str) -> None:
    rng = np.random.default_rng(0)
    texts = sorted({" ".join(rng.choice(WORDS, 4)) for _ in range(400)})
    tower, tokens = open_text_tower(TextTowerConfig(encoder=encoder))
    stored = FrozenActivations(tower, tokens, texts)
    set_projection(tower, *principal_projection(pooled_catalogue(tower, stored, batch_size=100)))
    with torch.inference_mode():
        pooled = tower.pooled(*stored(torch.arange(len(texts)))).double().numpy()
        weight, bias = tower.projection.weight.double().numpy(), tower.projection.bias.double().numpy()
    centred = pooled - pooled.mean(axis=0)
    strength = np.linalg.svd(centred, compute_uv=False)
    assert len(strength) > VECTOR_SIZE
    np.testing.assert_allclose(weight @ weight.T, np.eye(VECTOR_SIZE), atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(centred @ weight.T, axis=0), strength[:VECTOR_SIZE], atol=1e-3)
    np.testing.assert_allclose(pooled @ weight.T + bias, centred @ weight.T, atol=1e-3)
