"""Our fitting loop and sentence-transformers' trainer on the same pairs, in the same order, from the same weights.

Both start from MiniLM with the same projection to 128, freeze the same lower layers, use the same loss
(MultipleNegativesRankingLoss, scale 1 / temperature), AdamW at one rate, clipping, batch size, threads, fp32 and no
dropout, so that both end with the same vectors. The time of ours includes the frozen layers' pass over the distinct
texts; what makes the difference is that pass being the only one, each distinct text once per batch, and length buckets.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.base.sampler import DefaultBatchSampler
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import Pooling

from benchmarks.text_shop import Shop
from features.encode import Floats
from training.activations import (
    FrozenActivations,
    encoded_texts,
    pooled_catalogue,
    principal_projection,
    set_projection,
    text_vectors,
)
from training.config import VECTOR_SIZE, TextTowerConfig
from training.loop import Surroundings, run_steps
from training.losses import in_batch_softmax
from training.pairs import sample_pairs
from training.text_tower import TextTower, Tokens, encoder_path, open_text_tower, set_dropout

_RATE, _TEMPERATURE = 2e-4, 0.2


@dataclass(frozen=True, slots=True)
class Timed:
    """One trainer's run."""

    seconds: float
    frozen_seconds: float
    vectors: Floats
    """float32 [texts, D], of length one, of the texts that were to be read after it."""


@dataclass(frozen=True, slots=True)
class Trainers:
    """Both, ready to start from the same weights, as often as they are asked to."""

    ours: Callable[[], Timed]
    theirs: Callable[[], Timed]


def trainers(shop: Shop, steps: int, batch_size: int, encoder: str, read: Sequence[str]) -> Trainers:
    """Ours and theirs over `steps` batches of pairs of texts.

    Args:
        shop: whose texts and shoppers.
        steps: batches.
        batch_size: pairs in each.
        encoder: `minilm`, or the path of another one.
        read: texts whose vectors are wanted afterwards; no part of the time.
    """
    rng = np.random.default_rng(0)
    left, right = sample_pairs(shop.sequences, steps * batch_size, rng)
    count = len(left) // batch_size * batch_size
    pairs = shop.texts.of_row[np.stack([left, right], axis=1)[:count]]
    config = TextTowerConfig(encoder=encoder, trained_layers=2 if encoder == "minilm" else 1, dropout=0.0)
    tower, tokens = open_text_tower(config)
    set_dropout(tower, 0.0)
    used = np.unique(pairs)
    sample = [shop.texts.distinct[text] for text in used[:: max(len(used) // 2000, 1)]]
    set_projection(tower, *principal_projection(pooled_catalogue(tower, FrozenActivations(tower, tokens, sample))))
    start = {name: value.clone() for name, value in tower.state_dict().items()}
    texts = shop.texts.distinct

    def run(train: Callable[[], Timed]) -> Timed:
        tower.load_state_dict(start)
        return train()

    return Trainers(
        ours=lambda: run(lambda: _ours(tower, tokens, texts, pairs, batch_size, read)),
        theirs=lambda: run(lambda: _theirs(tower, config, texts, pairs, batch_size, read)),
    )


def _ours(
    tower: TextTower, tokens: Tokens, texts: Sequence[str], pairs: np.ndarray, batch_size: int, read: Sequence[str]
) -> Timed:
    started = time.monotonic()
    used, places = np.unique(pairs, return_inverse=True)
    activations = FrozenActivations(tower, tokens, [texts[text] for text in used])
    frozen_seconds = time.monotonic() - started
    batches = places.reshape(-1, batch_size, 2)
    optimizer = torch.optim.AdamW(
        [value for value in tower.parameters() if value.requires_grad], _RATE, weight_decay=0.0
    )
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)

    def loss(step: int) -> torch.Tensor:
        distinct, inverse = np.unique(batches[step], return_inverse=True)
        vectors = encoded_texts(tower, activations, torch.from_numpy(distinct))
        left, right = torch.from_numpy(inverse.reshape(-1, 2)).T
        return in_batch_softmax(vectors[left], vectors[right], _TEMPERATURE)

    run_steps(loss, tower, optimizer, schedule, len(batches), "ours", np.random.default_rng(0), Surroundings())
    seconds = time.monotonic() - started
    return Timed(seconds, frozen_seconds, text_vectors(tower, FrozenActivations(tower, tokens, list(read))))


def _theirs(
    tower: TextTower,
    config: TextTowerConfig,
    texts: Sequence[str],
    pairs: np.ndarray,
    batch_size: int,
    read: Sequence[str],
) -> Timed:
    path = str(encoder_path(config.encoder))
    encoder = Transformer(path, max_seq_length=config.max_tokens)
    head = Dense(tower.projection.in_features, VECTOR_SIZE, activation_function=torch.nn.Identity())
    head.linear.load_state_dict(tower.projection.state_dict())
    model = SentenceTransformer(modules=[encoder, Pooling(tower.projection.in_features), head], device="cpu")
    _freeze(encoder, config.trained_layers)
    columns = {"anchor": [texts[a] for a, _ in pairs], "positive": [texts[b] for _, b in pairs]}
    with tempfile.TemporaryDirectory() as folder:
        trainer = SentenceTransformerTrainer(
            model=model,
            args=_arguments(folder, batch_size),
            train_dataset=Dataset.from_dict(columns),
            loss=MultipleNegativesRankingLoss(model, scale=1 / _TEMPERATURE),
        )
        started = time.monotonic()
        trainer.train()
        seconds = time.monotonic() - started
    vectors: Floats = model.encode(list(read), batch_size=256, normalize_embeddings=True, show_progress_bar=False)
    return Timed(seconds, 0.0, vectors.astype(np.float32))


def _arguments(folder: str, batch_size: int) -> SentenceTransformerTrainingArguments:
    return SentenceTransformerTrainingArguments(
        output_dir=folder,
        num_train_epochs=1,
        per_device_train_batch_size=batch_size,
        learning_rate=_RATE,
        weight_decay=0.0,
        lr_scheduler_type="constant",
        max_grad_norm=1.0,
        use_cpu=True,
        batch_sampler=_in_order,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_num_workers=0,
    )


def _in_order(dataset: Dataset, batch_size: int, drop_last: bool, **_: object) -> DefaultBatchSampler:
    """Batches as the pairs stand, so that both sides see the same ones."""
    return DefaultBatchSampler(torch.utils.data.SequentialSampler(dataset), batch_size=batch_size, drop_last=drop_last)


def _freeze(encoder: Transformer, trained_layers: int) -> None:
    model: Any = encoder.auto_model
    set_dropout(model, 0.0)
    for module in (model.embeddings, *model.encoder.layer[:-trained_layers]):
        module.requires_grad_(False)
