"""How long the vectors of items without history are, so that they get their share of the lists and no more.

What a text explains of an item's vector is short: it is an expectation, and next to vectors with events behind them an
expectation never leads a list. Made long enough, it leads every list. Between the two lies the length at which the
items whose texts stage A held out, stripped of what their events taught, take as many places as with it: that is what
an item that training has not seen gets, in the mean; single crowds of them can get much less (LOG.md). The factor goes
into the adapter, and so into the exported text tower; items with events keep their vectors.
"""

import copy
from dataclasses import replace

import numpy as np
import torch

from features import spec
from features.encode import Floats
from training.dataset import Ints, Sequences
from training.stage_b import all_item_vectors
from training.towers import Towers

_SHOPPERS = 300
_K = 20
"""Places of a list."""
_DAY_US = 86_400_000_000
_LEAST, _MOST, _HALVINGS = 0.25, 4.0, 12


def with_fair_newcomers(towers: Towers, sequences: Sequences, seed: int) -> Towers:
    """The same towers and item vectors, with texts alone as long as is fair.

    Args:
        towers: Left as they are.
        sequences: What shoppers did: whose lists are looked at, and which items have events.
        seed: Which shoppers are looked at.
    """
    known, rng = np.flatnonzero(sequences.counts > 0), np.random.default_rng(seed)
    stripped = np.intersect1d(towers.text.held_out, known)
    if not stripped.size:
        return towers
    with torch.inference_mode():
        explained = towers.items.adapter(towers.items.text_vectors).numpy()
        interests = towers.interest(*_latest(sequences, towers.vectors, rng)).numpy()
    factor = fair_factor(interests, towers.vectors, explained, stripped)
    items = copy.deepcopy(towers.items)
    with torch.no_grad():
        vectors = towers.items.all()
        items.adapter.weight.mul_(factor)
        items.residual.weight[known] = (vectors - items.adapter(items.text_vectors))[known]
    return replace(towers, items=items, vectors=all_item_vectors(items))


def fair_factor(interests: Floats, vectors: Floats, explained: Floats, stripped: Ints) -> float:
    """By what to multiply `explained` so that the rows `stripped`, left with it alone, take as many places as before.

    Args:
        interests: float32 [S, K, D].
        vectors: float32 [N, D], the items' vectors.
        explained: float32 [N, D], of which their texts explain so much.
        stripped: int64 [n].
    """

    def places(candidate: Floats) -> float:
        scores = np.einsum("skd,nd->skn", interests, candidate, optimize=True).max(axis=1)
        best = np.argpartition(-scores, min(_K, scores.shape[1]) - 1, axis=1)[:, :_K]
        return float(np.isin(best, stripped).mean())

    before, trial = places(vectors), vectors.copy()
    low, high = _LEAST, _MOST
    for _ in range(_HALVINGS):
        middle = float(np.sqrt(low * high))
        trial[stripped] = middle * explained[stripped]
        low, high = (middle, high) if places(trial) < before else (low, middle)
    return float(np.sqrt(low * high))


def _latest(
    sequences: Sequences, vectors: Floats, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The interest tower's inputs for some shoppers as they are now."""
    length = spec.HISTORY_LENGTH
    users = rng.permutation(len(sequences.user_ids))[:_SHOPPERS]
    first, stop = sequences.starts[users], sequences.starts[users + 1]
    at = stop[:, None] + np.arange(-length, 0)
    real = at >= first[:, None]
    at = np.where(real, at, first[:, None])
    types = np.where(real, sequences.event_types[at], 0)
    ages = np.where(real, sequences.times_us[stop - 1][:, None] - sequences.times_us[at], 0) / _DAY_US
    history = vectors[sequences.rows[at]] * real[..., None]
    return torch.from_numpy(history), torch.from_numpy(types), torch.from_numpy(ages.astype(np.float32))
