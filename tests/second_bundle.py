"""A second bundle made of a first one, to be swapped with it: a test that mixes them must be able to notice."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx

from features import bundle as files
from features.bundle import Bundle, open_bundle, write_bundle


def rewritten(first: Bundle, bundles: Path, version: str, change: Callable[[Path], None]) -> Bundle:
    """The files of `first` after `change` was made to their directory, as a valid bundle of another version."""
    with write_bundle(bundles, version, first.manifest) as draft:
        shutil.copytree(first.root, draft, dirs_exist_ok=True, ignore=shutil.ignore_patterns(files.MANIFEST))
        change(draft)
    return open_bundle(bundles / version)


def quieten(root: Path) -> None:
    """Every number that the interest tower of a bundle's directory gives becomes a tenth less."""
    path = root / files.INTEREST_TOWER
    model = onnx.load(path)
    name = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["loud" if output == name else output for output in node.output]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0.9, np.float32), "quiet_share"))
    model.graph.node.append(onnx.helper.make_node("Mul", ["loud", "quiet_share"], [name]))
    onnx.checker.check_model(model)
    onnx.save(model, path)
