"""The synthetic shop, trained and served for real: what end-to-end and parity tests run against."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from features.bundle import Bundle, open_bundle, promote
from features.synthetic import SyntheticConfig, SyntheticShop, generate
from services.common.exclusive import exclusive
from services.stack import StackConfig
from training.recipes import small
from training.train import Folders, train

CUTOFF_WEEK = 10
_VERSION = "shop-1"
_TEXT_STEPS = 10
"""The costliest steps of the recipe; its words are few enough to be learned in so many."""
_SHOP = {"user_count": 300, "item_count": 300, "weeks": 12, "seed": 7}


@dataclass(frozen=True, slots=True)
class TrainedShop:
    """The shop with its truth, and the bundle trained on its first ten weeks."""

    shop: SyntheticShop
    bundle: Bundle
    build: Path
    bundles: Path

    def stack_config(self, triton_venv: Path) -> StackConfig:
        """Every process of the suite over this bundle, on a clock that stands still at the cutoff."""
        data = "synthetic:" + ",".join(f"{name}={value}" for name, value in _SHOP.items())
        return StackConfig(
            data=data,
            bundles=self.bundles,
            build=self.build,
            triton_venv=triton_venv,
            ranking_port=0,
            clock="as-of",
        )


def train_shop(folder: Path) -> TrainedShop:
    """Train on the CPU, in well under a minute."""
    shop = generate(SyntheticConfig(**_SHOP))
    as_of = shop.dataset.calendar.week_end(CUTOFF_WEEK)
    build, bundles = folder / "build", folder / "bundles"
    recipe = small()
    config = replace(recipe, text=replace(recipe.text, steps=_TEXT_STEPS))
    bundle = train(shop.dataset, config, as_of, 0, Folders(bundles, build / "checkpoints"), _VERSION)
    promote(bundles, bundle.version, "test", as_of)
    return TrainedShop(shop, bundle, build, bundles)


def copied_shop(source: Path, folder: Path) -> TrainedShop:
    """The shop that lies in `source`, trained there if it is not yet, with files of its own in `folder`."""
    source.mkdir(exist_ok=True)
    with exclusive(source):
        trained = source / "trained"
        if not trained.exists():
            draft = source / "draft"
            shutil.rmtree(draft, ignore_errors=True)
            train_shop(draft)
            draft.rename(trained)
    shutil.copytree(trained, folder, dirs_exist_ok=True)
    bundles = folder / "bundles"
    return TrainedShop(generate(SyntheticConfig(**_SHOP)), open_bundle(bundles / _VERSION), folder / "build", bundles)
