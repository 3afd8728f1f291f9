"""Lines 3, 6 and 8 of AREA=quality, and the parts of line 9 about fitting: the text tower's fine-tuning pays, with
adapters too, fast, and the same whatever happens to the run."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.text_shop import Shop, complete_journey, recalls
from benchmarks.text_trainers import trainers
from tests.acceptance.rows import Row, at_least, at_most, holds
from tests.acceptance.text_fits import CONFIGS, STORE, Workbench
from tests.acceptance.text_measure import amazon_beauty
from tests.acceptance.text_runs import Runs
from training.config import TextTowerConfig

BUILD = Path("build")
BEAUTY = Path(os.environ.get("AISLE_AMAZON_BEAUTY", "build/data/amazon-beauty"))
"""Where Amazon Beauty lies, which cannot be shipped; without it its rows say met: null."""
_CUTOFF_WEEK = 49
_GAIN = 1.3
_LORA_LOSS = 0.03


def shops() -> Iterator[tuple[str, Shop]]:
    """Both data sets as far as they are there, with their test truth."""
    yield "complete_journey", complete_journey(BUILD, _CUTOFF_WEEK)
    if BEAUTY.exists():
        yield "amazon_beauty", amazon_beauty(BEAUTY, STORE)


def missing() -> list[Row]:
    """What stands in for rows of a data set that is not there."""
    return [] if BEAUTY.exists() else [Row("amazon_beauty", f"no data at {BEAUTY}", "the data set", None)]


def fine_tuning() -> list[Row]:
    """Line 3: Recall@20 of the tuned text vectors against the encoder's own, seen items in and out."""
    return [row for name, shop in shops() for row in gain_rows(name, Workbench(shop), CONFIGS[name])] + missing()


def gain_rows(name: str, bench: Workbench, config: TextTowerConfig) -> list[Row]:
    """One data set's rows."""
    whole, projected = bench.zero_shot(config)
    before, compressed = recalls(bench.shop, whole), recalls(bench.shop, projected)
    fit = bench.fitted("full", config)
    after = recalls(bench.shop, fit.vectors)
    rows = [Row(f"{name}_seconds_of_fitting", round(fit.seconds, 1), "reported", True)]
    for what in ("unmasked", "masked"):
        zero, tuned = getattr(before, what), getattr(after, what)
        rows += [
            Row(f"{name}_{what}_zero_shot_recall@20", zero, "reported", True),
            Row(f"{name}_{what}_zero_shot_128_wide_recall@20", getattr(compressed, what), "reported", True),
            Row(f"{name}_{what}_tuned_recall@20", tuned, "reported", True),
            at_least(f"{name}_{what}_tuned_over_zero_shot", round(tuned / max(zero, 1e-9), 3), _GAIN),
        ]
    return rows


def adapters() -> list[Row]:
    """Line 6: LoRA against full tuning by line 3's measure; AdaLoRA trains and exports."""
    return [row for name, shop in shops() for row in adapter_rows(name, Workbench(shop), CONFIGS[name])] + missing()


def adapter_rows(name: str, bench: Workbench, config: TextTowerConfig, store: Path = STORE) -> list[Row]:
    """One data set's rows; AdaLoRA on Complete Journey only, in a quarter of the steps."""
    full = recalls(bench.shop, bench.fitted("full", config).vectors)
    fit = bench.fitted("lora", replace(config, tuning="lora"))
    lora = recalls(bench.shop, fit.vectors)
    rows = [at_most(f"{name}_lora_share_of_parameters", fit.trained_share, 0.05)]
    for what in ("unmasked", "masked"):
        ratio = round(getattr(lora, what) / max(getattr(full, what), 1e-9), 4)
        rows.append(at_least(f"{name}_{what}_lora_over_full_recall@20", ratio, 1.0 - _LORA_LOSS))
    if name != "amazon_beauty":
        file = store / f"{name}-adalora.onnx"
        adaptive = bench.fitted("adalora", replace(config, tuning="adalora", steps=max(config.steps // 4, 1)), file)
        found, zero = recalls(bench.shop, adaptive.vectors), recalls(bench.shop, bench.zero_shot(config)[0])
        rows.append(
            at_least(f"{name}_adalora_over_zero_shot", round(found.unmasked / max(zero.unmasked, 1e-9), 3), _GAIN)
        )
        rows.append(holds(f"{name}_adalora_is_exported_and_reads_as_torch_does", value=file.exists()))
    return rows


def speed() -> list[Row]:
    """Line 8: seconds of fitting against sentence-transformers' trainer."""
    shop = complete_journey(BUILD, _CUTOFF_WEEK)
    return speed_rows(shop, steps=60, batch_size=64)


def speed_rows(shop: Shop, steps: int, batch_size: int, encoder: str = "minilm") -> list[Row]:
    """The same pairs in the same order through both trainers, frozen layers and all."""
    both = trainers(shop, steps, batch_size, encoder, shop.texts.distinct)
    ours, theirs = both.ours(), both.theirs()
    ratio = recalls(shop, ours.vectors).unmasked / max(recalls(shop, theirs.vectors).unmasked, 1e-9)
    return [
        Row("seconds_ours", round(ours.seconds, 2), "reported", True),
        Row("seconds_of_it_for_frozen_layers", round(ours.frozen_seconds, 2), "reported", True),
        Row("seconds_sentence_transformers", round(theirs.seconds, 2), "reported", True),
        at_least("times_as_fast", round(theirs.seconds / ours.seconds, 3), 1.5),
        at_most("recall@20_apart_share", round(abs(ratio - 1.0), 4), 0.01),
    ]


def runs(folder: Path = STORE / "runs", steps: int = 24, encoder: str = "minilm") -> list[Row]:
    """Line 9, as far as fitting goes: two processes, kill -9 and resume, the same seed."""
    made = Runs(folder, steps, encoder)
    alone, again, together = made.run("alone"), made.run("again"), made.run("together", processes=2)
    resumed = made.killed_and_resumed(steps * 2 // 3)
    other = made.run("other_seed", seed=1)
    taught = [made.run(f"company_{count}", processes=count, objective="company") for count in (1, 2)]
    return [
        at_most("two_processes_loss_curve_apart", made.apart(alone, together), 1e-3),
        at_most("two_processes_company_loss_curve_apart", made.apart(*taught), 1e-3),
        at_most("killed_and_resumed_losses_apart", made.apart(alone, resumed), 1e-6),
        at_most("killed_and_resumed_vectors_apart", made.vectors_apart("alone", "resumed"), 1e-6),
        at_most("same_seed_losses_apart", made.apart(alone, again), 0.0),
        at_most("same_seed_vectors_apart", made.vectors_apart("alone", "again"), 0.0),
        at_least("other_seed_losses_apart", made.apart(alone, other), 1e-4),
    ]
