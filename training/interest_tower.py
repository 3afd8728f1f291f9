"""The interest tower: a shopper's latest events → K interest vectors in the items' space. A small causal transformer.

Shapes: B histories, T events (oldest first, left-padded), D = VECTOR_SIZE, K interests, H heads.

Choices:
- Input per event: the item's vector, its event type, its age; no position embedding, since age says when and order
  alone says little inside one basket.
- The last position's output is read: with left padding that is always the newest event.
"""

import math

import torch
from torch import Tensor, nn

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

    def forward(self, x_BTD: Tensor, blocked_BTT: Tensor) -> Tensor:
        """Float32 [B, T, D] → [B, T, D]; `blocked` is added to the attention scores."""
        q, k, v = self.qkv(self.norm_attention(x_BTD)).chunk(3, dim=-1)
        width = VECTOR_SIZE // self.heads
        q, k, v = (t.unflatten(-1, (self.heads, width)).transpose(1, 2) for t in (q, k, v))
        weights = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(width) + blocked_BTT[:, None], dim=-1)
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
        self.age = nn.Linear(3, VECTOR_SIZE)
        self.blocks = nn.ModuleList(Block(config.heads, config.mlp_ratio, config.dropout) for _ in range(config.layers))
        self.norm = nn.LayerNorm(VECTOR_SIZE)
        self.interests = nn.Linear(VECTOR_SIZE, config.interest_count * VECTOR_SIZE)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, history_vectors: Tensor, event_types: Tensor, ages_days: Tensor) -> Tensor:
        """Interest vectors.

        Args:
            history_vectors: float32 [B, T, D], oldest first.
            event_types: int64 [B, T], 0 = padding.
            ages_days: float32 [B, T], ≥ 0.

        Returns:
            float32 [B, K, D].
        """
        ages = torch.stack([torch.log1p(ages_days), torch.exp(-ages_days / 7.0), torch.exp(-ages_days / 28.0)], dim=-1)
        x = self.dropout(history_vectors + self.event_type(event_types) + self.age(ages))
        blocked = _blocked(event_types)
        for block in self.blocks:
            x = block(x, blocked)
        last = self.norm(x[:, -1])
        interests: Tensor = self.interests(last).unflatten(-1, (self.interest_count, VECTOR_SIZE))
        return interests


def _blocked(event_types: Tensor) -> Tensor:
    """Float32 [B, T, T], -1e9 where a position must not look: at later ones and at padding, but always at itself."""
    length = event_types.shape[1]
    position = torch.arange(length, device=event_types.device)
    ahead = position[None, :] > position[:, None]
    blocked = ahead[None] | (event_types == 0)[:, None, :]
    blocked = blocked & (position[None, :] != position[:, None])[None]
    return blocked.to(torch.float32) * -1e9


class ItemVectors(nn.Module):
    """Item vector = text vector + learned residual; the residual is dropped at random in training."""

    def __init__(self, text_vectors: Tensor, dropout: float) -> None:
        """Start from text vectors float32 [N, D] and zero residuals."""
        super().__init__()
        self.text_vectors = nn.Buffer(text_vectors)
        self.residual = nn.Embedding(text_vectors.shape[0], VECTOR_SIZE)
        nn.init.zeros_(self.residual.weight)
        self.drop = dropout

    def forward(self, rows: Tensor) -> Tensor:
        """Float32 [..., D] of int64 rows [...]."""
        residual: Tensor = self.residual(rows)
        if self.training and self.drop > 0:
            keep = torch.rand(rows.shape, device=rows.device) >= self.drop
            residual = residual * keep.unsqueeze(-1)
        return self.text_vectors[rows] + residual

    def all(self) -> Tensor:
        """Every item's vector, float32 [N, D]."""
        return self.text_vectors + self.residual.weight
