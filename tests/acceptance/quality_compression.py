"""Line 7 of AREA=quality: the int8 text tower loses next to nothing of line 3's measure and is more than twice as fast.

The fp32 side is the graph that the bundle serves, under ONNX Runtime's full graph optimisation. Both run on the same
batches, sorted by length, in turns: fp32, int8, fp32, int8, …; the ratio is the median over the rounds. The loss is
bounded over all items and over new ones alone. Towers are kept under build/accept/quality/, so that only what is
compared here is made anew.
"""

import platform
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.text_shop import Shop, recalls
from tests.acceptance.quality_text import missing, shops
from tests.acceptance.rows import Row, at_least
from tests.acceptance.text_fits import CONFIGS, STORE, Workbench
from training.compress import INT8, TextBatch, compress, encode_batches, text_batches
from training.config import TextTowerConfig
from training.export import open_session
from training.text_tower import open_text_tower

_LEAST_KEPT = 0.99
_LEAST_SPEEDUP = 2.2
_TIMED_TEXTS = 1_500
_ROUNDS = 7


def int8() -> list[Row]:
    """Line 7: Recall@20 and texts/s of int8 over fp32, with what the CPU can do."""
    rows = [Row("cpu_has_int8_dot_products", str("vnni" in _cpu_flags()), "reported", True)]
    for name, shop in shops():
        rows += shop_rows(name, shop, _tower(shop, CONFIGS[name]), CONFIGS[name].max_tokens)
    return rows + missing()


def shop_rows(name: str, shop: Shop, tower: Path, max_tokens: int) -> list[Row]:
    """One data set's rows: the folder `tower` holds model.onnx and tokenizer.json."""
    texts = shop.texts.distinct
    facts = compress(tower, texts, max_tokens, seed=0)[INT8]
    batches = text_batches(tower / "tokenizer.json", texts, max_tokens)
    fp32, int8 = (recalls(shop, encode_batches(tower / model, batches)) for model in ("model.onnx", INT8))
    rows = [
        Row(f"{name}_int8_cosine_{what}", round(facts[f"cosine_{what}"], 4), "reported", True)
        for what in ("mean", "p1")
    ]
    for what in ("unmasked", "masked"):
        before, after = getattr(fp32, what), getattr(int8, what)
        kept = round(after / max(before, 1e-9), 4)
        rows.append(Row(f"{name}_{what}_fp32_recall@20", before, "reported", True))
        rows.append(at_least(f"{name}_{what}_int8_over_fp32_recall@20", kept, _LEAST_KEPT))
    speed = speedup(tower, text_batches(tower / "tokenizer.json", _sample(texts), max_tokens))
    return [*rows, at_least(f"{name}_int8_over_fp32_texts_per_second", round(speed, 2), _LEAST_SPEEDUP)]


def speedup(tower: Path, batches: Sequence[TextBatch], rounds: int = _ROUNDS) -> float:
    """Median over rounds of fp32's seconds by int8's."""
    sessions = [open_session(tower / model) for model in ("model.onnx", INT8)]
    ratios = []
    for _ in range(rounds + 1):
        seconds = []
        for session in sessions:
            started = time.perf_counter()
            for batch in batches:
                session.run(["vectors"], batch.feed)
            seconds.append(time.perf_counter() - started)
        ratios.append(seconds[0] / seconds[1])
    return float(np.median(ratios[1:]))  # the first round warms up


def _sample(texts: Sequence[str]) -> list[str]:
    chosen = np.random.default_rng(0).permutation(len(texts))[:_TIMED_TEXTS]
    return [texts[position] for position in chosen]


def _tower(shop: Shop, config: TextTowerConfig) -> Path:
    """The folder of the shop's fitted tower, fitted and exported where it is not there yet."""
    folder = STORE / f"{shop.name}-tower"
    if not (folder / "tokenizer.json").exists():
        Workbench(shop).fitted("exported", config, onnx=folder / "model.onnx")
        open_text_tower(config)[1].save(folder / "tokenizer.json")
    return folder


def _cpu_flags() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else platform.processor()
