"""The interest tower: a shopper's latest events → K interest vectors in the items' space. A small causal transformer.

Shapes: B histories, T events (oldest first, left-padded), D = VECTOR_SIZE, K interests, H heads.

Choices:
- Input per event: the item's vector, its event type and the time since the event before it, which is the same wherever
  a history is cut; attention is biased by the distance of two events (Raffel et al. 2020, T5).
- Beside the transformer runs the history's mean, linearly mapped: items whose mean already says something need no
  steps to be of use (`begin_at_mean`).
- Every position's output is a history's interests, which is what training uses; serving reads the last one, with left
  padding always the newest event's.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from features import spec
from training.config import VECTOR_SIZE, InterestTowerConfig


class Block(nn.Module):
    """Pre-norm causal self-attention and a two-layer perceptron."""

    def __init__(self, heads: int, mlp_ratio: int, dropout: float) -> None:
        """Width is VECTOR_SIZE."""
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(VECTOR_SIZE)
        self.qkv = nn.Linear(VECTOR_SIZE, 3 * VECTOR_SIZE)
        self.out = nn.Linear(VECTOR_SIZE, VECTOR_SIZE)
        self.norm_mlp = nn.LayerNorm(VECTOR_SIZE)
        inner = mlp_ratio * VECTOR_SIZE
        self.mlp = nn.Sequential(nn.Linear(VECTOR_SIZE, inner), nn.GELU(), nn.Linear(inner, VECTOR_SIZE))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BTD: Tensor, bias_BHTT: Tensor) -> Tensor:
        """Float32 [B, T, D] → [B, T, D]; the bias is added to the attention scores."""
        q, k, v = self.qkv(self.norm_attention(x_BTD)).chunk(3, dim=-1)
        width = VECTOR_SIZE // self.heads
        q, k, v = (t.unflatten(-1, (self.heads, width)).transpose(1, 2) for t in (q, k, v))
        weights = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(width) + bias_BHTT, dim=-1)
        mixed = (weights @ v).transpose(1, 2).flatten(-2)
        x_BTD = x_BTD + self.dropout(self.out(mixed))
        result: Tensor = x_BTD + self.dropout(self.mlp(self.norm_mlp(x_BTD)))
        return result


class InterestTower(nn.Module):
    """History vectors, event types and ages → interest vectors."""

    def __init__(self, config: InterestTowerConfig) -> None:
        """Build an untrained tower."""
        super().__init__()
        self.interest_count = config.interest_count
        self.event_type = nn.Embedding(len(spec.EVENT_TYPES) + 1, VECTOR_SIZE, padding_idx=0)
        self.gap = nn.Linear(3, VECTOR_SIZE)
        self.distance = nn.Embedding(spec.HISTORY_LENGTH, config.heads)
        nn.init.zeros_(self.distance.weight)
        self.blocks = nn.ModuleList(Block(config.heads, config.mlp_ratio, config.dropout) for _ in range(config.layers))
        self.norm = nn.LayerNorm(VECTOR_SIZE)
        self.interests = nn.Linear(VECTOR_SIZE, config.interest_count * VECTOR_SIZE)
        self.mean = nn.Linear(VECTOR_SIZE, config.interest_count * VECTOR_SIZE, bias=False)
        nn.init.zeros_(self.mean.weight)
        self.dropout = nn.Dropout(config.dropout)

    def begin_at_mean(self, scale: float) -> None:
        """Make every interest `scale` times the history's mean vector, but for a little that tells them apart."""
        with torch.no_grad():
            self.mean.weight.copy_(scale * torch.eye(VECTOR_SIZE).repeat(self.interest_count, 1))
            self.interests.weight.mul_(0.1)
            self.interests.bias.zero_()

    def forward(self, history_vectors: Tensor, event_types: Tensor, ages_days: Tensor) -> Tensor:
        """Interest vectors after the whole history.

        Args:
            history_vectors: float32 [B, T, D], oldest first.
            event_types: int64 [B, T], 0 = padding.
            ages_days: float32 [B, T], ≥ 0.

        Returns:
            float32 [B, K, D].
        """
        return self.interests_along(history_vectors, event_types, ages_days)[:, -1]

    def interests_along(self, history_vectors: Tensor, event_types: Tensor, ages_days: Tensor) -> Tensor:
        """Interest vectors after every event, float32 [B, T, K, D], from the same inputs as `forward`."""
        gaps = functional.pad(ages_days[:, :-1] - ages_days[:, 1:], (1, 0)).clamp(min=0.0)
        gaps = gaps * functional.pad(event_types[:, :-1] != 0, (1, 0))  # before the first event there is none
        gaps = torch.stack([torch.log1p(gaps), torch.exp(-gaps / 7.0), torch.exp(-gaps / 28.0)], dim=-1)
        x = self.dropout(history_vectors + self.event_type(event_types) + self.gap(gaps))
        bias = _blocked(event_types)[:, None] + self._distance_bias(event_types.shape[1])
        for block in self.blocks:
            x = block(x, bias)
        real = (event_types != 0).unsqueeze(-1).to(history_vectors.dtype)
        mean = (history_vectors * real).cumsum(dim=1) / real.cumsum(dim=1).clamp(min=1.0)
        found = self.interests(self.norm(x)) + self.mean(mean)
        interests: Tensor = found.unflatten(-1, (self.interest_count, VECTOR_SIZE))
        return interests

    def _distance_bias(self, length: int) -> Tensor:
        """Float32 [H, T, T], what each head adds to the attention between events that many places apart."""
        position = torch.arange(length, device=self.distance.weight.device)
        apart = (position[:, None] - position[None, :]).clamp(0, spec.HISTORY_LENGTH - 1)
        bias: Tensor = self.distance(apart).permute(2, 0, 1)
        return bias


def _blocked(event_types: Tensor) -> Tensor:
    """Float32 [B, T, T], -1e9 where a position must not look: at later ones and at padding, but always at itself."""
    length = event_types.shape[1]
    position = torch.arange(length, device=event_types.device)
    ahead = position[None, :] > position[:, None]
    blocked = ahead[None] | (event_types == 0)[:, None, :]
    blocked = blocked & (position[None, :] != position[:, None])[None]
    return blocked.to(torch.float32) * -1e9


class ItemVectors(nn.Module):
    """Item vector = adapted text vector + learned residual; the residual is dropped at random in training.

    The adapter is linear and starts as the identity; it is folded into the text tower when that leaves training.
    """

    def __init__(self, text_vectors: Tensor, dropout: float) -> None:
        """Start from text vectors float32 [N, D] and zero residuals."""
        super().__init__()
        self.text_vectors = nn.Buffer(text_vectors)
        self.adapter = nn.Linear(VECTOR_SIZE, VECTOR_SIZE, bias=False)
        nn.init.eye_(self.adapter.weight)
        self.residual = nn.Embedding(text_vectors.shape[0], VECTOR_SIZE)
        nn.init.zeros_(self.residual.weight)
        self.drop = dropout

    def begin_at(self, vectors: Tensor, adapter: Tensor) -> None:
        """Make every item's vector what `vectors` float32 [N, D] says, of which the text explains `adapter` [D, D]."""
        with torch.no_grad():
            self.adapter.weight.copy_(adapter)
            self.residual.weight.copy_(vectors - self.adapter(self.text_vectors))

    def forward(self, rows: Tensor) -> Tensor:
        """Float32 [..., D] of int64 rows [...]."""
        residual: Tensor = self.residual(rows)
        if self.training and self.drop > 0:
            keep = torch.rand(rows.shape, device=rows.device) >= self.drop
            residual = residual * keep.unsqueeze(-1)
        adapted: Tensor = self.adapter(self.text_vectors[rows])
        return adapted + residual

    def all(self) -> Tensor:
        """Every item's vector, float32 [N, D]."""
        adapted: Tensor = self.adapter(self.text_vectors)
        return adapted + self.residual.weight
