"""Smaller text towers beside the fp32 one, each with what it costs in vectors: `compress(folder of the text tower)`.

Choices:
- A text's loss is 1 - cosine of its vector to the fp32 one's; mean and first percentile over distinct catalogue texts
  go into the manifest, where serving looks whether it may use a tower (a candidate's vectors and the catalogue's must
  agree).
- Calibration and judgement use different texts.
- Speed is no fact of a bundle: it is another on every machine. `tests/acceptance/quality_compression.py` measures it.
"""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from features import bundle as files
from features.encode import Floats
from training.config import VECTOR_SIZE
from training.dataset import Ints
from training.export import open_session
from training.graph_int8 import fused, watched, write_fp16, write_int8

log = logging.getLogger(__name__)

FP32, FP16, INT8 = (Path(name).name for name in (files.TEXT_TOWER, files.TEXT_TOWER_FP16, files.TEXT_TOWER_INT8))
"""Within the bundle's text_tower/."""
_CALIBRATED = 256


@dataclass(frozen=True, slots=True)
class Loss:
    """How far a tower's vectors are from fp32's, over sample texts."""

    texts: int
    cosine_mean: float
    cosine_p1: float
    """First percentile: 99 % of the texts are nearer than this."""
    megabytes: float


@dataclass(frozen=True, slots=True)
class TextBatch:
    """B texts of similar length."""

    position: Ints
    """int64 [B], where they stand in what was asked."""
    feed: dict[str, Ints]
    """`input_ids` and `attention_mask`, int64 [B, T]."""


def compress(text_tower: Path, texts: Sequence[str], max_tokens: int, seed: int) -> dict[str, Any]:
    """Write fp16 and int8 towers beside the fp32 one.

    Args:
        text_tower: Folder with model.onnx and tokenizer.json.
        texts: Distinct texts of the catalogue, at least two; some calibrate, all others judge.
        max_tokens: Longer texts are cut.
        seed: Of who calibrates.

    Returns:
        Name of the file → Loss as a dict.

    Raises:
        ValueError: if there are fewer than two texts.
    """
    if len(texts) < 2:
        raise ValueError(f"texts: {len(texts)} given; at least one to calibrate and one to judge by are needed")
    source, order = text_tower / FP32, np.random.default_rng(seed).permutation(len(texts))
    calibrating = [texts[i] for i in order[: min(_CALIBRATED, len(texts) // 2)]]
    judging = [texts[i] for i in order[len(calibrating) :]]
    tokenizer = text_tower / Path(files.TOKENIZER).name
    write_fp16(source, text_tower / FP16)
    graph = fused(source)
    write_int8(graph, _loudness(graph, text_batches(tokenizer, calibrating, max_tokens)), text_tower / INT8)
    batches = text_batches(tokenizer, judging, max_tokens)
    expected = encode_batches(source, batches)
    facts = {}
    for name in (FP16, INT8):
        loss = _loss(expected, encode_batches(text_tower / name, batches), text_tower / name)
        log.info("%s: cosine to fp32 %.4f on average, %.4f at 1 %%", name, loss.cosine_mean, loss.cosine_p1)
        facts[name] = asdict(loss)
    return facts


def text_batches(tokenizer: Path, texts: Sequence[str], max_tokens: int, batch_size: int = 64) -> list[TextBatch]:
    """Texts in batches of similar length, each padded to its longest, as a server that sorts would see them."""
    reader = Tokenizer.from_file(str(tokenizer))
    reader.enable_truncation(max_length=max_tokens)
    reader.no_padding()
    encoded = [encoding.ids for encoding in reader.encode_batch(list(texts))]
    order = np.argsort([len(ids) for ids in encoded], kind="stable")
    return [_padded(order[at : at + batch_size], encoded) for at in range(0, len(order), batch_size)]


def _padded(position: Ints, encoded: Sequence[Sequence[int]]) -> TextBatch:
    shape = (len(position), max(len(encoded[i]) for i in position))
    ids, mask = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for row, which in enumerate(position):
        size = len(encoded[which])
        ids[row, :size], mask[row, :size] = encoded[which], 1
    return TextBatch(position, {"input_ids": ids, "attention_mask": mask})


def encode_batches(model: Path, batches: Sequence[TextBatch]) -> Floats:
    """Vectors of all texts, float32 [texts, D], in the order they were given to `text_batches`."""
    session = open_session(model)
    vectors = np.empty((sum(batch.position.size for batch in batches), VECTOR_SIZE), dtype=np.float32)
    for batch in batches:
        vectors[batch.position] = session.run(["vectors"], batch.feed)[0]
    return vectors


def _loudness(graph: bytes, batches: Sequence[TextBatch]) -> dict[str, Floats]:
    """Tensor → largest magnitude of each channel over the real tokens of all batches."""
    seen, names = watched(graph)
    loudest: dict[str, Floats] = {}
    for name, values in _outputs(seen, names, batches):
        largest = np.abs(values).max(axis=0)
        loudest[name] = np.maximum(loudest.get(name, largest), largest)
    return loudest


def _outputs(graph: bytes, names: Sequence[str], batches: Sequence[TextBatch]) -> Iterator[tuple[str, Floats]]:
    """Of every batch and named tensor [B, T, C] the values at real tokens, [tokens, C]."""
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(graph)
        file.flush()
        session = open_session(Path(file.name))
    for batch in batches:
        real = batch.feed["attention_mask"].astype(bool)
        for name, values in zip(names, session.run(list(names), batch.feed) if names else [], strict=True):
            yield name, values[real]


def _loss(expected: Floats, found: Floats, path: Path) -> Loss:
    norms = np.linalg.norm(expected, axis=1) * np.linalg.norm(found, axis=1)
    cosines = (expected * found).sum(axis=1) / np.maximum(norms, 1e-12)
    return Loss(
        texts=len(cosines),
        cosine_mean=float(cosines.mean()),
        cosine_p1=float(np.percentile(cosines, 1)),
        megabytes=round(path.stat().st_size / 1e6, 1),
    )
