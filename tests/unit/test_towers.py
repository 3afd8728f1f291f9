"""Both towers before and after fitting: what they must not see, and what they start from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel

from features import spec
from features.schema import Dataset
from tests.shop import dataset, day, event, events, item, items
from tests.tiny_encoder import WIDTH, write_tiny_encoder
from training.config import VECTOR_SIZE, InterestTowerConfig, TextTowerConfig, TrainConfig
from training.dataset import item_texts, sequences
from training.interest_tower import InterestTower, ItemVectors
from training.text_tower import FrozenActivations, TextTower, encoder_path, open_text_tower, start_projection
from training.towers import Foundation, Towers, ends, fit_interest, fit_text, lay_foundation

pytestmark = pytest.mark.usefixtures("one_thread")

WORDS = ["oat", "cow", "milk", "rye", "white", "bread", "green", "black", "tea", "fresh", "big", "small", "of", "the"]
FP16 = 2e-3
"""How far the frozen layers' stored activations may move a number."""


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_tiny_encoder(tmp_path_factory.mktemp("encoder"), WORDS)


# --- interest tower ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def interest_tower() -> InterestTower:
    torch.manual_seed(0)
    return InterestTower(InterestTowerConfig(interest_count=3, layers=2)).eval()


def histories(count: int, length: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Random histories without padding."""
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(count, length, VECTOR_SIZE, generator=generator),
        torch.randint(1, len(spec.EVENT_TYPES) + 1, (count, length), generator=generator),
        torch.rand(count, length, generator=generator) * 90,
    )


@pytest.mark.parametrize("padding", [1, 7, 43])
def test_left_padding_of_any_length_and_content_changes_no_interest(
    interest_tower: InterestTower, padding: int
) -> None:
    history = histories(4, 7)
    vectors, _, ages = histories(4, padding, seed=1)
    filler = (100 * vectors, torch.zeros(4, padding, dtype=torch.int64), ages)
    padded = [torch.cat(parts, dim=1) for parts in zip(filler, history, strict=True)]
    with torch.inference_mode():
        torch.testing.assert_close(interest_tower(*padded), interest_tower(*history), atol=1e-5, rtol=1e-4)


def test_an_event_is_not_influenced_by_later_ones(interest_tower: InterestTower) -> None:
    seen: list[Tensor] = []
    hook = interest_tower.blocks[-1].register_forward_hook(lambda *call: seen.append(call[-1]))
    history = histories(3, 9)
    with torch.inference_mode():
        interest_tower(*history)
        interest_tower(*(part[:, :5] for part in history))
    hook.remove()
    whole, beginning = seen
    torch.testing.assert_close(whole[:, :5], beginning, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("place", [0, 4])
def test_every_event_of_the_history_is_looked_at(interest_tower: InterestTower, place: int) -> None:
    vectors, types, ages = histories(1, 5)
    other_type = types.clone()
    other_type[0, place] = types[0, place] % len(spec.EVENT_TYPES) + 1
    other_age = ages.clone()
    other_age[0, place] += 30
    other_vector = vectors.clone()
    other_vector[0, place] = other_vector[0, place].flip(0)
    with torch.inference_mode():
        before = interest_tower(vectors, types, ages)
        assert before.shape == (1, 3, VECTOR_SIZE)
        for changed in ((other_vector, types, ages), (vectors, other_type, ages), (vectors, types, other_age)):
            assert (interest_tower(*changed) - before).abs().max() > 1e-4


def test_an_empty_history_gives_finite_interests(interest_tower: InterestTower) -> None:
    nothing = (torch.zeros(2, 5, VECTOR_SIZE), torch.zeros(2, 5, dtype=torch.int64), torch.zeros(2, 5))
    with torch.inference_mode():
        assert interest_tower(*nothing).isfinite().all()


# --- item vectors -----------------------------------------------------------------------------------------------


def test_an_item_without_a_residual_is_its_text() -> None:
    text = torch.randn(6, VECTOR_SIZE)
    vectors = ItemVectors(text, dropout=0.5)
    torch.testing.assert_close(vectors.all(), text)
    torch.testing.assert_close(vectors.train()(torch.tensor([3, 0])), text[[3, 0]])


def test_a_residual_is_added_and_dropped_only_in_training() -> None:
    text = torch.randn(1, VECTOR_SIZE)
    vectors = ItemVectors(text, dropout=0.25)
    nn.init.ones_(vectors.residual.weight)
    rows = torch.zeros(4_000, dtype=torch.int64)
    torch.testing.assert_close(vectors.eval()(rows), (text + 1).expand(4_000, -1))
    torch.manual_seed(0)
    added = (vectors.train()(rows) - text)[:, 0].round()
    assert set(added.tolist()) == {0.0, 1.0}
    assert (added == 0).float().mean().item() == pytest.approx(0.25, abs=0.03)


# --- text tower -------------------------------------------------------------------------------------------------

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


def test_an_encoder_that_cannot_be_split_is_refused(encoder: str) -> None:
    with pytest.raises(ValueError, match=r"BertModel cannot be split: need encoder\.layer with at least 3 layers"):
        open_text_tower(TextTowerConfig(encoder=encoder, trained_layers=3))
    with pytest.raises(ValueError, match="Linear cannot be split"):
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


def test_the_projection_starts_as_the_principal_components_of_the_texts(encoder: str) -> None:
    rng = np.random.default_rng(0)
    texts = sorted({" ".join(rng.choice(WORDS, 4)) for _ in range(400)})
    tower, tokens = open_text_tower(TextTowerConfig(encoder=encoder))
    stored = FrozenActivations(tower, tokens, texts)
    start_projection(tower, stored, batch_size=100)
    with torch.inference_mode():
        pooled = tower.pooled(*stored(torch.arange(len(texts)))).double().numpy()
        weight, bias = tower.projection.weight.double().numpy(), tower.projection.bias.double().numpy()
    centred = pooled - pooled.mean(axis=0)
    strength = np.linalg.svd(centred, compute_uv=False)
    assert len(strength) > VECTOR_SIZE
    np.testing.assert_allclose(weight @ weight.T, np.eye(VECTOR_SIZE), atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(centred @ weight.T, axis=0), strength[:VECTOR_SIZE], atol=1e-3)
    np.testing.assert_allclose(pooled @ weight.T + bias, centred @ weight.T, atol=1e-3)


# --- fitting ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def groceries() -> Dataset:
    """Two kinds of baskets that never mix: oat milk with rye bread, and cow milk with green tea."""
    shelf = {"OAT": "oat milk", "RYE": "rye bread", "COW": "cow milk", "TEA": "green tea"}
    baskets = {"even": ["OAT", "RYE"], "odd": ["COW", "TEA"]}
    happened = [
        event(f"household-{number}-{kind}", name, on + 0.1 * place, session_id=f"{number}-{kind}-{on}")
        for number in range(6)
        for kind, names in baskets.items()
        for on in range(0, 40, 4)
        for place, name in enumerate(names)
    ]
    catalogue = items(*(item(name) | {"title": title} for name, title in sorted(shelf.items())))
    return dataset(events(*happened), catalogue)


def config_of(encoder: str, text_steps: int = 0, interest_steps: int = 0) -> TrainConfig:
    """A run of a few steps."""
    return TrainConfig(
        text=TextTowerConfig(encoder=encoder, trained_layers=1, steps=text_steps, batch_size=16),
        interest=InterestTowerConfig(layers=1, steps=interest_steps, batch_size=8, uniform_negatives=8, targets=4),
    )


def foundation_of(data: Dataset, config: TrainConfig) -> Foundation:
    """The foundation of a run over the whole catalogue."""
    return lay_foundation(item_texts(data.items), config)


def fitted(data: Dataset, foundation: Foundation, config: TrainConfig, seed: int = 0) -> Towers:
    """Both towers on all events."""
    everything = sequences(data, data.items, day(100))
    return fit_interest(fit_text(foundation, everything, config, seed), everything, config, seed)


def test_without_a_step_the_text_tower_is_the_zero_shot_encoder_compressed(encoder: str, groceries: Dataset) -> None:
    config = config_of(encoder)
    foundation = foundation_of(groceries, config)
    text = fit_text(foundation, sequences(groceries, groceries.items, day(100)), config, seed=0)
    ids, mask = foundation.tokens(groceries.items["title"].to_list())
    with torch.inference_mode():
        whole = AutoModel.from_pretrained(encoder).eval()(input_ids=ids, attention_mask=mask).last_hidden_state
        pooled = (whole * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        centred = functional.normalize(pooled - pooled.mean(dim=0), dim=-1)
    np.testing.assert_allclose(text.row_vectors @ text.row_vectors.T, centred @ centred.T, atol=FP16)
    for name, value in foundation.tower.state_dict().items():
        torch.testing.assert_close(text.tower.state_dict()[name], value, atol=0, rtol=0)


def test_without_a_step_items_are_their_texts_rounded_to_half_precision(encoder: str, groceries: Dataset) -> None:
    config = config_of(encoder)
    towers = fitted(groceries, foundation_of(groceries, config), config)
    np.testing.assert_array_equal(towers.vectors, towers.text.row_vectors.astype(np.float16).astype(np.float32))
    assert towers.vectors.dtype == np.float32


def test_stage_a_draws_together_what_is_bought_together_and_apart_what_is_not(encoder: str, groceries: Dataset) -> None:
    """It once drew everything together: the text itself was among the candidates against it."""
    config = config_of(encoder, text_steps=30)
    foundation = foundation_of(groceries, config)
    everything = sequences(groceries, groceries.items, day(100))
    before, after = (
        fit_text(foundation, everything, made, seed=0).row_vectors for made in (config_of(encoder), config)
    )
    cow, oat, rye, tea = range(4)
    together, apart = [(oat, rye), (cow, tea)], [(oat, cow), (oat, tea), (rye, cow), (rye, tea)]
    cosine_before, cosine_after = before @ before.T, after @ after.T
    assert min(cosine_after[pair] for pair in together) > max(cosine_after[pair] for pair in apart) + 0.1
    assert all(cosine_after[pair] < cosine_before[pair] for pair in apart)


def test_stage_b_points_interests_at_what_comes_next(encoder: str, groceries: Dataset) -> None:
    """Over text vectors that are told apart easily, unlike those of random weights."""
    config = config_of(encoder, interest_steps=60)
    everything = sequences(groceries, groceries.items, day(100))
    text = fit_text(foundation_of(groceries, config), everything, config, seed=0)
    apart = np.random.default_rng(0).standard_normal(text.row_vectors.shape).astype(np.float32)
    apart /= np.linalg.norm(apart, axis=1, keepdims=True)
    towers = fit_interest(replace(text, row_vectors=apart), everything, config, seed=0)
    cow, oat, rye, tea = range(4)
    for own, other in (([oat, rye], [cow, tea]), ([cow, tea], [oat, rye])):
        history = torch.from_numpy(towers.vectors[own * 2])[None]
        with torch.inference_mode():
            interest = towers.interest(history, torch.full((1, 4), spec.EVENT_CODES["purchase"]), torch.ones(1, 4))
        scores = towers.vectors @ interest[0, 0].numpy()
        assert scores[own].min() > scores[other].max() + 0.5


def test_the_same_seed_fits_the_same_numbers_and_another_seed_others(encoder: str, groceries: Dataset) -> None:
    config = config_of(encoder, text_steps=3, interest_steps=3)
    foundation = foundation_of(groceries, config)
    first, again, other = (fitted(groceries, foundation, config, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.text.row_vectors, again.text.row_vectors)
    np.testing.assert_array_equal(first.vectors, again.vectors)
    for name, value in first.interest.state_dict().items():
        torch.testing.assert_close(again.interest.state_dict()[name], value, atol=0, rtol=0)
    assert not np.array_equal(first.vectors, other.vectors)


def test_a_loss_that_is_no_number_stops_the_run(encoder: str, groceries: Dataset) -> None:
    config = config_of(encoder, text_steps=4)
    config = replace(config, text=replace(config.text, temperature=float("nan")))
    with pytest.raises(FloatingPointError, match="the loss became nan; lower the learning rate"):
        fitted(groceries, foundation_of(groceries, config), config)


@pytest.mark.parametrize(
    ("losses", "words"),
    [([], "unchanged (no steps)"), ([2.0], "2.000 → 2.000"), ([4.0, 2.0, *[0.0] * 16, 1.0, 0.0], "3.000 → 0.500")],
)
def test_a_loss_curve_is_told_by_its_ends(losses: list[float], words: str) -> None:
    assert ends(losses) == words


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: TextTowerConfig(max_tokens=3), "max_tokens must be at least 4, got 3"),
        (lambda: TextTowerConfig(batch_size=1), "batch_size must be at least 2, got 1"),
        (lambda: TextTowerConfig(steps=-1), "steps must be at least 0, got -1"),
        (lambda: InterestTowerConfig(interest_count=0), "interest_count must be at least 1, got 0"),
        (lambda: InterestTowerConfig(heads=3), "heads must divide 128, got 3"),
    ],
)
def test_a_setting_out_of_range_is_named(make: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        make()
