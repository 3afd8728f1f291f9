"""Texts into vectors: Aisle's text tower behind Triton beside the same graph in the caller's own process.

Triton runs as it does in serving; the other side is ONNX Runtime with the same graph, tokeniser and threads, without a
server (benchmarks/towers.py). The vectors of both are compared before anything is timed. What callers at once get from
batching is shown against the same Triton without it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.pairs import alternated, compared, compared_row, p50_ms, seconds
from benchmarks.rows import Row
from benchmarks.towers import CALLERS, THREADS, Encode, Ways, opened
from features.bundle import ITEMS, open_bundle, serving_path
from features.encode import Floats
from features.item_text import item_text_column
from services.common.towers import MAX_BATCH_SIZE

BUNDLES = Path("bundles")
TEXTS, ROUNDS = 320, 7

_LEAST_COSINE = 0.999


def rows() -> list[Row]:
    """The serving bundle's tower on texts of its items, seeded."""
    bundle = open_bundle(serving_path(BUNDLES))
    every = pl.read_parquet(bundle.root / ITEMS).select(item_text_column()).to_series().unique(maintain_order=True)
    texts = every.sample(min(TEXTS, len(every)), seed=0).to_list()
    with opened(bundle.root, bundle.version) as ways:
        return compared_on(ways, texts, ROUNDS)


def compared_on(ways: Ways, texts: Sequence[str], rounds: int) -> list[Row]:
    """The four rows.

    Raises:
        ValueError: the two sides' vectors differ.
    """
    batches = [texts[at : at + MAX_BATCH_SIZE] for at in range(0, len(texts), MAX_BATCH_SIZE)]
    require_alike(*(np.concatenate([way(batch) for batch in batches]) for way in (ways.served, ways.in_process)))

    def one(encode: Encode) -> Callable[[], float]:
        return lambda: p50_ms([partial(encode, [text]) for text in texts[: len(texts) // 2]])

    def per_second(encode: Encode, parts: Sequence[Sequence[str]]) -> Callable[[], float]:
        return lambda: len(texts) / seconds(lambda: [encode(part) for part in parts])

    return told(
        alternated({"ours": one(ways.served), "theirs": one(ways.in_process)}, rounds),
        alternated({"ours": per_second(ways.served, batches), "theirs": per_second(ways.in_process, batches)}, rounds),
        alternated(
            {
                "ours": per_second(ways.at_once, [texts]),
                "theirs": per_second(ways.in_process, [[text] for text in texts]),
                "unbatched": per_second(ways.unbatched, [texts]),
            },
            rounds,
        ),
        f"{len(texts)} item texts, the same graph, tokeniser and options, {THREADS} threads each, vectors alike "
        f"(cosine >= {_LEAST_COSINE:g}). {rounds} rounds in turns.",
    )


Figures = dict[str, list[float]]


def told(single: Figures, batch: Figures, callers: Figures, method: str) -> list[Row]:
    """Rows of what was measured: milliseconds of one text; texts a second in batches, and of many callers."""
    gap = float(np.median(single["ours"]) - np.median(single["theirs"]))
    raw = f"ONNX Runtime {version('onnxruntime')} in the caller's process"
    crossing = (
        f"A call of Triton crosses a process ({gap:.2f} ms for one text), which buys one tower for all processes, "
        "batches across callers, and a change of model without a restart."
    )
    faster = partial(compared, more_is_better=True)
    cases = [
        ("one_text", compared(single["ours"], single["theirs"]), raw, "One text at a time, one caller, p50."),
        ("batch_64", faster(batch["ours"], batch["theirs"]), raw, f"{MAX_BATCH_SIZE} texts in a request, one caller."),
        (
            "callers_16",
            faster(callers["ours"], callers["theirs"]),
            f"{raw}, one text after another",
            f"{CALLERS} callers with a text each, batched by Triton; the other side needs no callers.",
        ),
        (
            "batching_16",
            faster(callers["ours"], callers["unbatched"]),
            "the same Triton without dynamic batching, its default",
            f"{CALLERS} callers with a text each on both sides.",
        ),
    ]
    padding = "A batch of texts is padded to its longest, and two cores have no more room for many rows than for one."
    return [
        compared_row(
            f"triton.{name}",
            result,
            unit="ms" if name == "one_text" else "texts/s",
            rival=rival,
            method=f"{method} {how}",
            behind=padding if name == "batching_16" else crossing,
        )
        for name, result, rival, how in cases
    ]


def require_alike(ours: Floats, theirs: Floats) -> None:
    """Compare vectors of the same texts.

    Raises:
        ValueError: some are not alike.
    """
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    least = float(((ours * theirs).sum(axis=1) / norms).min())
    if not least >= _LEAST_COSINE:
        raise ValueError(f"vectors: the least cosine of the two sides is {least:.5f}, expected {_LEAST_COSINE:g}")
