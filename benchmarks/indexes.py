"""Vector indexes that the catalogue could be searched with, behind one shape. One thread wherever a search is asked.

Shapes: N items, Q queries, D numbers in a vector, K results of a query. The only file that knows these libraries.
Aisle's own index keeps half precision; so does usearch where it can; the others keep float32, which is all that they
have or what is usual with them. All find by dot product. Graphs lose their way by dot products of vectors of
unequal length (recall .73 where they reach .98): they get what is usual then, one more number that makes all lengths
equal, and search by distance, which gives the same order.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import faiss as _faiss
import hnswlib
import numpy as np
from numpy.typing import NDArray
from usearch.index import Index as UsearchIndex

from services.retrieval.index import build_index

faiss: Any = _faiss  # the wheel's type stubs lack what its Python layer adds

Float32 = NDArray[np.float32]
Rows = NDArray[np.int64]

ALL_CORES = 0
"""Threads that build a graph, as both libraries write it. Only one thread builds the same graph each time: on several,
additions race, and some items can no longer be reached by any walk (3,000 items on 48 threads: recall .91 to .97)."""

_EQUAL = 0.01
"""Lengths that differ by less, squared and of the longest, are equal: half precision makes as much of a difference."""
_BLOCK = 32
"""Queries that NumPy multiplies at a time: their scores over a million items are 128 MB."""


@dataclass(frozen=True, slots=True)
class Searcher:
    """An index that is built."""

    name: str
    """With the version of what it is made of."""
    search: Callable[[Float32, int], Rows]
    """Queries [Q, D] and K → rows [Q, K], best first."""
    build_seconds: float
    bytes_per_item: float
    """Of the index as it is saved, vectors included."""
    set_effort: Callable[[int], None] | None = None
    """How many candidates a graph keeps while it searches; None where a search has no such setting."""


def aisle(vectors: Float32) -> Searcher:
    """Aisle's own, built as a bundle's is; on one thread."""
    seconds, index = _timed(lambda: build_index(vectors))

    def search(queries: Float32, k: int) -> Rows:
        rows: Rows = index.search(queries, k)[0].astype(np.int64)
        return rows

    return Searcher("Aisle", search, seconds, _saved(index.save) / len(vectors))


def exact_numpy(vectors: Float32) -> Searcher:
    """All dot products, then the K largest."""

    def best(queries: Float32, k: int) -> Rows:
        scores = queries @ vectors.T
        chosen = np.argpartition(scores, -k, axis=1)[:, -k:]
        order = np.argsort(-np.take_along_axis(scores, chosen, axis=1), axis=1)
        rows: Rows = np.take_along_axis(chosen, order, axis=1).astype(np.int64)
        return rows

    def search(queries: Float32, k: int) -> Rows:
        return np.concatenate([best(queries[at : at + _BLOCK], k) for at in range(0, len(queries), _BLOCK)])

    return Searcher(f"NumPy {np.__version__}, exact, float32", search, 0.0, vectors.nbytes / len(vectors))


def exact_faiss(vectors: Float32) -> Searcher:
    """FAISS's flat index."""
    index = faiss.IndexFlatIP(vectors.shape[1])
    seconds, _ = _timed(lambda: index.add(vectors))

    def search(queries: Float32, k: int) -> Rows:
        faiss.omp_set_num_threads(1)
        rows: Rows = index.search(queries, k)[1]
        return rows

    name = f"FAISS {version('faiss-cpu')} IndexFlatIP, float32"
    return Searcher(name, search, seconds, vectors.nbytes / len(vectors))


def graph_hnswlib(vectors: Float32, threads: int = ALL_CORES) -> Searcher:
    """hnswlib with its own defaults (M 16, ef_construction 200)."""
    space, ready = equal_lengths(vectors)
    index = hnswlib.Index("l2", space.shape[1])
    index.init_index(len(vectors))
    seconds, _ = _timed(lambda: index.add_items(space, np.arange(len(vectors)), num_threads=threads))

    def search(queries: Float32, k: int) -> Rows:
        return np.asarray(index.knn_query(ready(queries), k, num_threads=1)[0]).astype(np.int64)

    name = f"hnswlib {version('chroma-hnswlib')} (M 16, ef_construction 200), float32"
    saved = _saved(lambda path: index.save_index(str(path)))
    return Searcher(name, search, seconds, saved / len(vectors), index.set_ef)


def graph_usearch(vectors: Float32, threads: int = ALL_CORES) -> Searcher:
    """usearch with its own defaults (connectivity 16, expansion_add 128); in half precision unless the vectors need
    another number, which would lose by it."""
    space, ready = equal_lengths(vectors)
    dtype = "f16" if space is vectors else "f32"
    index: Any = UsearchIndex(ndim=space.shape[1], metric="l2sq", dtype=dtype)
    seconds, _ = _timed(lambda: index.add(np.arange(len(vectors)), space, threads=threads))

    def search(queries: Float32, k: int) -> Rows:
        found = np.asarray(index.search(ready(queries), k, threads=1).keys).reshape(len(queries), -1)
        if found.shape[1] < k:
            raise ValueError(f"usearch: {found.shape[1]} of {k} results")
        return found.astype(np.int64)

    def set_effort(effort: int) -> None:
        index.expansion_search = effort

    name = f"usearch {version('usearch')} (connectivity 16, expansion_add 128), {dtype}"
    return Searcher(name, search, seconds, index.serialized_length / len(vectors), set_effort)


def equal_lengths(vectors: Float32) -> tuple[Float32, Callable[[Float32], Float32]]:
    """Vectors whose order by distance is that of the dot products, and what makes a query fit them.

    Returns:
        `vectors` as they are where their lengths are equal already; else with one more number and zeros up to a
        multiple of sixteen, which libraries compare fastest.
    """
    squares = np.square(vectors).sum(axis=1)
    if squares.max() - squares.min() <= _EQUAL * squares.max():
        return vectors, lambda queries: queries
    width = vectors.shape[1]
    padded = np.zeros((len(vectors), (width // 16 + 1) * 16), dtype=np.float32)
    padded[:, :width], padded[:, width] = vectors, np.sqrt(squares.max() - squares)

    def ready(queries: Float32) -> Float32:
        return np.pad(queries, ((0, 0), (0, padded.shape[1] - width)))

    return padded, ready


def _timed(build: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    built = build()
    return time.perf_counter() - started, built


def _saved(save: Callable[[Path], Any]) -> int:
    """Bytes of the file that `save` writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        save(path)
        return path.stat().st_size
