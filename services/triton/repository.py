"""Bundle → Triton model repository, for NVIDIA's container (gpu) or any machine (cpu).

Each model is built aside and moved into place whole, so that a server that reads the repository meanwhile sees the old
model or the new one. Versions stand side by side; a model that is already current is left alone. The bundle's large
files are hard-linked where the file system allows. On the cpu target the text tower is the int8 one where its vectors
agree with the catalogue's, which the fp32 one made. Knows nothing of a running server.
"""

import filecmp
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from google.protobuf import text_format

from features.bundle import COMPRESSION, TEXT_TOWER_INT8
from services.common.towers import TowerModels
from services.triton import model_configs

LEAST_COSINE = 0.98
"""At least 99 % of texts must have int8 vectors as near to their fp32 ones."""

Target = Literal["cpu", "gpu"]
_PARTS = ("text_tower", "interest_tower", "text_tokenizer", "text_encoder")
_T = TypeVar("_T", str, int)


@dataclass(frozen=True, slots=True)
class _Model:
    config: Any
    """ModelConfig; its name is the model's directory."""
    own: dict[str, str]
    """Name in the version directory → a file of this package."""
    bundled: dict[str, Path]
    """Name in the version directory → a file of the bundle."""


def build_repository(bundle_root: Path, target: Target, out: Path) -> list[str]:
    """Write the two towers of a bundle into the model repository `out`.

    Args:
        bundle_root: Directory of one bundle.
        target: `cpu` for the Python backend, `gpu` for ONNX Runtime with TensorRT.
        out: Model repository; made if missing, other models in it are kept. Models are made in its parent, which must
            be writable and lie on the same file system.

    Returns:
        Names of the models to load: text tower, interest tower. Loading them loads what they are made of.

    Raises:
        FileNotFoundError: The bundle lacks a file; the error names it.
        ValueError: A configuration file lacks a key; the error names file and key.
    """
    names = TowerModels.of_version(_read(bundle_root / "manifest.json", "version", str))
    models = _cpu_models(bundle_root, names) if target == "cpu" else _gpu_models(bundle_root, names)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as aside:
        for model in models:
            _write(model, Path(aside) / model.config.name)
            _move_into_place(Path(aside) / model.config.name, out / model.config.name)
    return [names.text, names.interest]


def prune_repository(out: Path, kept_versions: Iterable[str], before_deleting: Callable[[str], None]) -> list[str]:
    """Delete the towers of all bundles but some from the model repository `out`.

    Args:
        out: Model repository; directories that `build_repository` does not write are left alone.
        kept_versions: Versions of the bundles whose towers stay.
        before_deleting: Called with each model's name; one for which it raises stays, with those after it.

    Returns:
        Names of the models that are gone.
    """
    suffixes = [TowerModels.of_version(version).text.removeprefix("text_tower") for version in kept_versions]
    kept = {part + suffix for part in _PARTS for suffix in suffixes}
    ours = (path for path in sorted(out.iterdir()) if path.name.startswith(tuple(f"{part}_" for part in _PARTS)))
    gone = [path for path in ours if path.name not in kept]
    for model in gone:
        before_deleting(model.name)
        shutil.rmtree(model)
    return [model.name for model in gone]


def _cpu_models(bundle_root: Path, names: TowerModels) -> list[_Model]:
    text, interest = bundle_root / "text_tower", bundle_root / "interest_tower"
    text_config = model_configs.cpu_text_tower(names.text, _max_tokens(text))
    interest_config = model_configs.cpu_interest_tower(names.interest)
    code = {"model.py": "cpu_model.py"}
    return [
        _Model(text_config, code, {**_cpu_text_graph(bundle_root), "tokenizer.json": text / "tokenizer.json"}),
        _Model(interest_config, code, _graph(interest)),
    ]


def _gpu_models(bundle_root: Path, names: TowerModels) -> list[_Model]:
    text, interest = bundle_root / "text_tower", bundle_root / "interest_tower"
    tokenizer, encoder = (names.text.replace("text_tower", part, 1) for part in ("text_tokenizer", "text_encoder"))
    max_tokens = _max_tokens(text)
    return [
        _Model(
            model_configs.gpu_text_tokenizer(tokenizer, max_tokens),
            {"model.py": "tokenizer_model.py"},
            {"tokenizer.json": text / "tokenizer.json"},
        ),
        _Model(model_configs.gpu_text_encoder(encoder, max_tokens), {}, _graph(text)),
        _Model(model_configs.gpu_text_tower(names.text, tokenizer, encoder), {}, {}),
        _Model(model_configs.gpu_interest_tower(names.interest, _interest_count(interest)), {}, _graph(interest)),
    ]


def _max_tokens(text_tower: Path) -> int:
    return _read(text_tower / "config.json", "max_tokens", int)


def _interest_count(interest_tower: Path) -> int:
    return _read(interest_tower / "config.json", "interest_count", int)


def _read(path: Path, key: str, kind: type[_T]) -> _T:
    value = json.loads(path.read_text()).get(key)
    if not isinstance(value, kind):
        raise ValueError(f"{path}: {key!r} must be of type {kind.__name__}, not {value!r}")
    return value


def _cpu_text_graph(bundle_root: Path) -> dict[str, Path]:
    losses = json.loads((bundle_root / "manifest.json").read_text()).get(COMPRESSION, {})
    if TEXT_TOWER_INT8 in losses and losses[TEXT_TOWER_INT8]["cosine_p1"] >= LEAST_COSINE:
        return {"model.onnx": bundle_root / TEXT_TOWER_INT8}
    return _graph(bundle_root / "text_tower")


def _graph(tower: Path) -> dict[str, Path]:
    # A graph's weights may lie beside it, in files the graph names relative to itself.
    return {path.name: path for path in (tower / "model.onnx", *sorted(tower.glob("model.onnx?*")))}


def _write(model: _Model, directory: Path) -> None:
    version = directory / "1"
    version.mkdir(parents=True)
    (directory / "config.pbtxt").write_text(text_format.MessageToString(model.config))
    for name, own in model.own.items():
        shutil.copy2(Path(__file__).with_name(own), version / name)
    for name, path in model.bundled.items():
        _link_or_copy(path, version / name)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target)


def _move_into_place(built: Path, target: Path) -> None:
    if target.exists():
        if _same_files(built, target):
            return
        target.rename(built.with_name(f"{built.name}.replaced"))
    built.rename(target)


def _same_files(left: Path, right: Path) -> bool:
    files = [sorted(path.relative_to(root) for path in root.rglob("*")) for root in (left, right)]
    return files[0] == files[1] and all(
        filecmp.cmp(left / name, right / name) for name in files[0] if (left / name).is_file()
    )
