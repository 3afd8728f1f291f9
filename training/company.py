"""The vectors that stage A teaches: for every distinct text, by the company its items keep, without the encoder.

Shapes: S distinct texts, H encoder width, D = VECTOR_SIZE, Q histories, P targets, L history length.

Choices:
- A text's vector is a linear map of its pooled embedding plus a residual of its own, unit length; the residual is held
  small, so that a text without events keeps what its embedding says.
- They are fitted to the very use: the mean over a shopper's latest distinct items points at the items that follow
  (softmax over the sample of the catalogue, logQ-corrected, so that scores are those of the full softmax).
- No encoder runs here, so a step costs milliseconds. The tower then learns to give each text its vector: one text
  read carries what all its events say, where a step over pairs carries one event (content to collaborative vectors:
  Barkan et al. 2019, RecSys, "CB2CF"; alternation in place of back-propagation through both: Carreira-Perpiñán &
  Wang 2014).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from features.vocab import Rows
from training.activations import principal_projection
from training.config import CompanyConfig
from training.dataset import Ints, Sequences, Texts
from training.loop import Surroundings, make_optimizer, run_steps
from training.losses import log_inclusion, sampled_softmax
from training.pairs import Impressions, drawn

_DAY_US = 86_400_000_000
_SCALE = 10.0
"""Mean length of a vector before it is brought to one: large against a step, so that what is known moves slowly."""
_LOOK_BACK = 8
"""Events looked at per distinct item wanted."""


class CompanyVectors(nn.Module):
    """Unit vectors of the catalogue's texts: a linear map of their embeddings, plus a residual."""

    def __init__(self, pooled: Tensor) -> None:
        """Start as the texts' pooled embeddings, float32 [S, H], compressed to their principal components."""
        super().__init__()
        weight, _ = principal_projection(pooled)
        self.embeddings = pooled - pooled.mean(dim=0)
        length = (self.embeddings @ weight.T).norm(dim=-1).mean().clamp(min=1e-6)
        self.map = nn.Parameter(weight.T * (_SCALE / length))
        self.residual = nn.Parameter(torch.zeros(len(pooled), weight.shape[0]))

    def forward(self, texts: Tensor) -> Tensor:
        """Unit vectors float32 [B, D] of the texts at int64 [B]."""
        return functional.normalize(self.embeddings[texts] @ self.map + self.residual[texts], dim=-1)

    def all(self) -> Tensor:
        """Unit vectors of every text, float32 [S, D], without gradients."""
        with torch.no_grad():
            return functional.normalize(self.embeddings @ self.map + self.residual, dim=-1)


@dataclass(frozen=True, slots=True)
class Histories:
    """Q histories and the items that follow them."""

    rows: Ints
    """int64 [Q, L] item rows, latest distinct ones; -1 where the history is shorter."""
    users: Ints
    """int64 [Q], positions in Sequences.user_ids."""
    target_of: Ints
    """int64 [P], the history each target belongs to."""
    targets: Ints
    """int64 [P], item rows."""


def latest_distinct(rows: Rows | Ints, count: int) -> list[int]:
    """The last `count` distinct items of a history, newest first."""
    return list(dict.fromkeys(int(row) for row in rows[::-1]))[:count]


def draw_histories(sequences: Sequences, config: CompanyConfig, rng: np.random.Generator) -> Histories:
    """Cut shoppers' sequences at events drawn by weight; a shopper's first session has no history and is left out."""
    cumulative = np.append(0.0, np.cumsum(sequences.weights))
    size = config.batch_size
    events = drawn(cumulative, np.zeros(size, np.int64), np.full(size, sequences.rows.size), rng)
    owners = np.searchsorted(sequences.starts, events, side="right") - 1
    rows: list[np.ndarray] = []
    users, target_of, targets = [], [], []
    for event, user in zip(events, owners, strict=True):
        start, stop = sequences.starts[user], sequences.starts[user + 1]
        now, own = sequences.times_us[event], sequences.times_us[start:stop]
        cut = event if config.cut == "event" else start + int(np.searchsorted(own, now, side="left"))
        if cut == start:
            continue
        end = start + int(np.searchsorted(own, now + int(config.target_days * _DAY_US), side="left"))
        look_back = max(start, cut - _LOOK_BACK * config.history_length)
        latest = latest_distinct(sequences.rows[look_back:cut], config.history_length)
        ahead = np.unique(sequences.rows[cut : max(end, cut + 1)])
        chosen = ahead if ahead.size <= config.targets else rng.choice(ahead, config.targets, replace=False)
        target_of.append(np.full(chosen.size, len(rows)))
        rows.append(np.pad(latest, (0, config.history_length - len(latest)), constant_values=-1))
        users.append(user)
        targets.append(chosen)
    if not rows:
        nothing = np.zeros(0, np.int64)
        return Histories(np.zeros((0, config.history_length), np.int64), nothing, nothing, nothing)
    found = (np.stack(rows), np.array(users), np.concatenate(target_of), np.concatenate(targets))
    return Histories(*(part.astype(np.int64) for part in found))


def fit_company(
    pooled: Tensor,
    texts: Texts,
    sequences: Sequences,
    config: CompanyConfig,
    rng: np.random.Generator,
    around: Surroundings,
    impressions: Impressions | None = None,
) -> Tensor:
    """The vectors to teach, float32 [S, D], from the zero-shot embeddings float32 [S, H]."""
    vectors = CompanyVectors(pooled)
    of_row = torch.from_numpy(texts.of_row)
    share = torch.from_numpy(sequences.counts / max(sequences.counts.sum(), 1.0))
    expected = config.batch_size * config.targets * share + config.uniform_negatives / sequences.item_count
    presence = log_inclusion(expected)
    optimizer, schedule = make_optimizer(
        [
            {"params": [vectors.map], "lr": config.learning_rate * float(vectors.map.detach().std())},
            {"params": [vectors.residual], "lr": config.learning_rate},
        ],
        0.0,
        config.steps,
        0.1,
    )

    def loss_of_step(_: int) -> Tensor:
        histories = draw_histories(sequences, config, rng)
        uniform = rng.integers(0, sequences.item_count, size=config.uniform_negatives)
        own = None
        if impressions is not None and config.impression_negatives:
            own = impressions.draw(histories.users, config.impression_negatives, rng)
        return _loss(vectors, histories, uniform, own, of_row, presence, config)

    run_steps(loss_of_step, vectors, optimizer, schedule, config.steps, "stage A: company", rng, around)
    return vectors.all()


def _loss(
    vectors: CompanyVectors,
    histories: Histories,
    uniform: Ints,
    own: tuple[np.ndarray, np.ndarray] | None,
    of_row: Tensor,
    presence: Tensor,
    config: CompanyConfig,
) -> Tensor:
    if not histories.users.size:
        return vectors.residual.sum() * 0.0
    rows = torch.from_numpy(histories.rows)
    there = (rows >= 0)[..., None]
    items = vectors(of_row[rows.clamp(min=0)].flatten()).unflatten(0, rows.shape)
    queries = (items * there).sum(dim=1) / there.sum(dim=1)
    targets = torch.from_numpy(histories.targets)
    candidates = torch.from_numpy(np.union1d(histories.targets, uniform))
    shown = None if own is None else vectors(of_row[torch.from_numpy(own[0]).long()].flatten())
    loss = sampled_softmax(
        queries=queries[:, None],
        query_of=torch.from_numpy(histories.target_of),
        positives=vectors(of_row[targets]),
        positive_ids=targets,
        candidates=vectors(of_row[candidates]),
        candidate_ids=candidates,
        candidate_log_q=presence[candidates],
        temperature=config.temperature,
        own_negatives=None if shown is None or own is None else shown.unflatten(0, own[0].shape),
        own_negatives_mask=None if own is None else torch.from_numpy(own[1].copy()),
    )
    return loss + config.residual_decay * vectors.residual.square().sum(dim=1).mean()
