"""Any Hugging Face encoder can be the text tower's: split where its layers allow, whole where not; Chinese too."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoModel

from features.schema import Dataset
from tests.shop import dataset, day, event, events, item, items
from tests.tiny_encoder import FAMILIES, write_chinese_encoder, write_tiny_encoder
from training.activations import FrozenActivations, text_vectors
from training.config import CompanyConfig, TextTowerConfig, TrainConfig
from training.dataset import item_texts, sequences
from training.export import export_text_tower, open_session
from training.text_tower import open_text_tower
from training.towers import fit_text, lay_foundation

pytestmark = pytest.mark.usefixtures("one_thread")

TEXTS = ["oat milk", "cow milk fresh and big", "rye bread", "the green tea of the small black cow", "tea"]
WORDS = " ".join(TEXTS).split()
CHINESE = {
    "MILK-OAT": "燕麦奶 1升",
    "BREAD-RYE": "黑麦面包",
    "MILK-COW": "鲜牛奶",
    "TEA": "绿茶",
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_reads_texts_as_hugging_face_does_and_exports(family: str, tmp_path: Path) -> None:
    folder = write_tiny_encoder(tmp_path / family, WORDS, family=family)
    tower, tokens = open_text_tower(TextTowerConfig(encoder=folder, trained_layers=1))
    assert tower.is_whole == (family == "albert")
    ids, mask = tokens(TEXTS)
    with torch.inference_mode():
        whole = AutoModel.from_pretrained(folder).eval()(input_ids=ids, attention_mask=mask).last_hidden_state
        mean = (whole * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        torch.testing.assert_close(tower.pooled(tower.activations(ids, mask), mask), mean, atol=1e-5, rtol=1e-4)
        vectors = tower(ids, mask).numpy()
    np.testing.assert_allclose(text_vectors(tower, FrozenActivations(tower, tokens, TEXTS)), vectors, atol=2e-3)
    if family in ("albert", "mpnet"):  # the others go through BERT's own code
        export_text_tower(tower, nn.Identity(), tokens, tmp_path / "model.onnx")


def test_all_layers_of_an_encoder_taken_whole_learn(tmp_path: Path) -> None:
    folder = write_tiny_encoder(tmp_path, WORDS, family="albert")
    tower, _ = open_text_tower(TextTowerConfig(encoder=folder, trained_layers=1))
    assert all(parameter.requires_grad for parameter in tower.parameters())


@pytest.fixture(scope="module")
def chinese_shop() -> Dataset:
    """Oat milk goes with rye bread, cow milk with tea; titles in Chinese."""
    baskets = [("MILK-OAT", "BREAD-RYE"), ("MILK-COW", "TEA")]
    happened = [
        event(f"household-{number}-{kind}", name, on + place, session_id=f"{number}-{kind}-{on}")
        for number in range(6)
        for kind, names in enumerate(baskets)
        for on in range(0, 40, 4)
        for place, name in enumerate(names)
    ]
    catalogue = items(*(item(name) | {"title": title} for name, title in sorted(CHINESE.items())))
    return dataset(events(*happened), catalogue)


def test_a_chinese_encoder_learns_exports_and_leaves_a_tokeniser_that_knows_its_characters(
    chinese_shop: Dataset, tmp_path: Path
) -> None:
    encoder = write_chinese_encoder(tmp_path / "encoder", CHINESE.values())
    company = CompanyConfig(steps=30, batch_size=16, uniform_negatives=4, temperature=0.2)
    text = TextTowerConfig(encoder=encoder, trained_layers=1, steps=30, batch_size=4, company=company)
    config = TrainConfig(text=text)
    foundation = lay_foundation(item_texts(chinese_shop.items), config)
    fitted = fit_text(foundation, sequences(chinese_shop, chinese_shop.items, day(100)), config, seed=0)
    rye, cow, oat, tea = range(4)
    cosine = fitted.row_vectors @ fitted.row_vectors.T
    assert min(cosine[oat, rye], cosine[cow, tea]) > max(cosine[oat, cow], cosine[rye, tea]) + 0.1

    export_text_tower(fitted.tower, nn.Identity(), foundation.tokens, tmp_path / "model.onnx")
    foundation.tokens.save(tmp_path / "tokenizer.json")
    served = Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode("燕麦奶")
    assert served.tokens == ["[CLS]", "燕", "麦", "奶", "[SEP]"]
    names = {"input_ids": np.array([served.ids]), "attention_mask": np.array([served.attention_mask])}
    vector = open_session(tmp_path / "model.onnx").run(None, names)[0]
    with torch.inference_mode():
        np.testing.assert_allclose(vector, fitted.tower(*foundation.tokens(["燕麦奶"])).numpy(), atol=1e-4)
