"""The vector index: rows with the greatest dot product. The only file that imports FAISS.

Shapes: N rows in the index, Q queries, D numbers in a vector, K results for a query, L lists.

Choices:
- Vectors are kept in half precision, which is what a bundle's vectors have anyway: half as many bytes to read.
- Exact search up to `EXACT_ROWS_MAX` rows. Beyond, an inverted file (IVF): rows in L lists by their nearest centre; a
  query reads the lists whose centres are nearest.
- A filter works inside the search: rows that are not allowed are skipped, and as many more lists are read as it takes
  to see `READ_ROWS` allowed ones. So no filter empties a list, and a strict one makes the search exact.
- Not a graph (HNSW): it takes many times as long to build, needs twice the memory, found less in the same time on
  clustered vectors, and loses its way under a filter that keeps a hundredth. What would change our mind: a catalogue so
  large that the lists nearest to a query no longer fit a processor's cache.
- The file is mapped, not read: processes on one machine share its pages.
- Order is decided by score, then row, also where equal scores straddle the end of the list (many products share their
  text, hence their vector). A query's result does not depend on the queries beside it. One thread: FAISS keeps an
  OpenMP pool for every calling thread, and small searches only wait for it.

Knows nothing of item ids, bundles or requests.
"""

import math
from pathlib import Path
from typing import Any, Literal, Self

import faiss as _faiss
import numpy as np
from numpy.typing import NDArray

faiss: Any = _faiss  # the wheel's type stubs lack what its Python layer adds

EXACT_ROWS_MAX = 100_000
"""Up to this many rows a search is exact: it reads them all, about 20 ns a row."""

READ_ROWS = 20_000
"""How many allowed rows a query reads where a search is not exact, and `READ_ROWS_PER_RESULT` for each of K if more."""
READ_ROWS_PER_RESULT = 20

LISTS_PER_ROOT = 4
"""L as a multiple of √N."""

MISSING_ROW = -1
"""What fills the end of a result that has fewer than K rows; its score is minus infinity."""

_TRAINING_ROWS_PER_LIST = 64
_TRAINING_ROUNDS = 10
_TRAINING_SEED = 1

# Fetched beyond K to see whether equal scores straddle the end; four times as many when they may go on.
_EXTRA_RESULTS = 16

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
Mask = NDArray[np.bool_]


class Index:
    """An immutable index over the rows 0 to N - 1."""

    def __init__(self, index: Any) -> None:
        """Args: index: a FAISS index by inner product: `IndexScalarQuantizer`, `IndexIVFScalarQuantizer` or, from older
        bundles, `IndexFlat`."""
        self._index = index
        known = isinstance(self._index, faiss.IndexFlat | faiss.IndexScalarQuantizer | faiss.IndexIVFScalarQuantizer)
        if not known or self._index.metric_type != faiss.METRIC_INNER_PRODUCT:
            raise ValueError(f"index: {type(self._index).__name__} is not an inner-product index of a known kind")

    @property
    def kind(self) -> Literal["flat", "lists"]:
        """How it searches: exactly, or in the lists nearest to the query."""
        return "lists" if isinstance(self._index, faiss.IndexIVFScalarQuantizer) else "flat"

    @property
    def row_count(self) -> int:
        """N."""
        return int(self._index.ntotal)

    @property
    def dimension(self) -> int:
        """D."""
        return int(self._index.d)

    def search(self, queries: Float32, k: int, allowed: Mask | None = None) -> tuple[Int32, Float32]:
        """Finds the K rows with the greatest dot product for each query.

        Args:
            queries: [Q, D], float32, finite.
            k: K, 1 or more; may exceed N.
            allowed: [N], bool, which rows may be returned. None: all.

        Returns:
            Rows [Q, K], int32, and scores [Q, K], float32; by falling score, equal scores by rising row; the end filled
            with `MISSING_ROW` and minus infinity where the index has fewer rows to offer.

        Raises:
            ValueError: a wrong shape, or `k` below 1.
        """
        if queries.ndim != 2 or queries.shape[1] != self.dimension:
            raise ValueError(f"queries: shape {queries.shape}, expected (Q, {self.dimension})")
        if k < 1:
            raise ValueError(f"k: {k}, must be 1 or more")
        if allowed is not None and allowed.shape != (self.row_count,):
            raise ValueError(f"allowed: shape {allowed.shape}, expected ({self.row_count},)")
        return self._search(queries, k, allowed, max(READ_ROWS, READ_ROWS_PER_RESULT * k))

    def search_alike(self, queries: Float32, k: int, allowed: Mask | None = None) -> tuple[Int32, Float32]:
        """As `search`: see `DeltaIndex.search_alike`, in which changed rows are told from the others."""
        return self.search(queries, k, allowed)

    def recall_at(self, queries: Float32, k: int, allowed: Mask | None = None) -> float:
        """The share of the exact K best results that `search` finds, 0 to 1; rows of equal score count as one another.

        Args:
            queries: [Q, D], float32; Q at least 1.
            k: K, 1 or more, at most the number of allowed rows.
            allowed: [N], bool, as for `search`.
        """
        _, found = self.search(queries, k, allowed)
        _, exact = self._search(queries, k, allowed, self.row_count)
        return float((found >= exact[:, -1:]).mean())

    def save(self, path: Path) -> None:
        """Writes the index to one file."""
        faiss.write_index(self._index, str(path))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Opens what `save` wrote; the file must stay as it is for as long as the index is used.

        Raises:
            ValueError: the file is not an index of a known kind.
        """
        try:
            return cls(faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC))
        except RuntimeError as error:
            raise ValueError(f"{path}: not a FAISS index: {error}") from error

    def _search(self, queries: Float32, k: int, allowed: Mask | None, read_rows: int) -> tuple[Int32, Float32]:
        """See `search`; reads as many lists as hold about `read_rows` allowed rows."""
        # Per calling thread, hence here: OpenMP's setting belongs to the thread that makes it.
        faiss.omp_set_num_threads(1)
        selector, available = _selector(allowed), self.row_count
        if allowed is not None:
            available = int(np.count_nonzero(allowed))
        share = min(read_rows / max(available, 1), 1.0)
        rows = np.full((len(queries), k), MISSING_ROW, dtype=np.int32)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        end, fetched = min(k, available), min(k + _EXTRA_RESULTS, available)
        undecided = np.arange(len(queries)) if end else np.empty(0, dtype=np.int64)
        while len(undecided):
            best_rows, best_scores = self._ordered(queries[undecided], fetched, selector, share)
            rows[undecided, :end], scores[undecided, :end] = best_rows[:, :end], best_scores[:, :end]
            straddling = best_scores[:, end - 1] == best_scores[:, -1]
            undecided = undecided[straddling & (fetched < available)]
            fetched = min(4 * fetched, available)
        return rows, scores

    def _ordered(self, queries: Float32, k: int, selector: Any, share: float) -> tuple[NDArray[np.int64], Float32]:
        """Some K best rows, [Q, K], and their scores, in order; FAISS chooses among equal scores as it likes."""
        scores, rows = self._fetch(np.ascontiguousarray(queries, dtype=np.float32), k, selector, share)
        order = np.lexsort((rows, -scores), axis=1)
        query = np.arange(len(queries))[:, None]
        return rows[query, order], scores[query, order]

    def _fetch(self, queries: Float32, k: int, selector: Any, share: float) -> tuple[Float32, NDArray[np.int64]]:
        """FAISS's own answer: scores and rows, [Q, K], K at most the count of selected rows."""
        if self.kind == "flat":
            return self._ask(queries, k, faiss.SearchParameters(sel=selector))
        count = self._index.nlist
        nearest = faiss.SearchParametersIVF(sel=selector, nprobe=math.ceil(share * count))
        scores, rows = self._ask(queries, k, nearest)
        short = (rows == MISSING_ROW).any(axis=1)  # the nearest lists hold too few selected rows
        if short.any():
            every = faiss.SearchParametersIVF(sel=selector, nprobe=count)
            scores[short], rows[short] = self._ask(queries[short], k, every)
        return scores, rows

    def _ask(self, queries: Float32, k: int, parameters: Any) -> tuple[Float32, NDArray[np.int64]]:
        scores, rows = self._index.search(queries, k, params=parameters)
        return scores, rows


def build_index(vectors: Float32, *, exact_rows_max: int = EXACT_ROWS_MAX) -> Index:
    """Builds the index that suits the number of rows; the same vectors give the same index.

    Args:
        vectors: [N, D], float32, finite; N may be 0. They are kept in half precision.
        exact_rows_max: N up to which the index is exact.

    Raises:
        ValueError: a wrong shape, or a row with a number that is not finite.
    """
    if vectors.ndim != 2:
        raise ValueError(f"vectors: shape {vectors.shape}, expected (N, D)")
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise ValueError(f"vectors: row {bad[0]} is not finite")
    faiss.omp_set_num_threads(1)  # with several, sums depend on which thread was first
    exact = len(vectors) <= exact_rows_max
    index = _all_rows(vectors.shape[1]) if exact else _trained_lists(vectors)
    index.add(np.ascontiguousarray(vectors, dtype=np.float32))
    return Index(index)


def _all_rows(dimension: int) -> Any:
    """A list of vectors, none of them in it yet."""
    return faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)


def _trained_lists(vectors: Float32) -> Any:
    """An inverted file with centres for the vectors, and none of them in it yet."""
    row_count, dimension = vectors.shape
    count, half, by_residual = round(LISTS_PER_ROOT * math.sqrt(row_count)), faiss.ScalarQuantizer.QT_fp16, False
    lists = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(dimension),
        dimension,
        min(count, row_count),
        half,
        faiss.METRIC_INNER_PRODUCT,
        by_residual,
    )
    lists.cp.seed, lists.cp.niter = _TRAINING_SEED, _TRAINING_ROUNDS
    lists.cp.min_points_per_centroid, lists.cp.max_points_per_centroid = 1, _TRAINING_ROWS_PER_LIST
    lists.train(np.ascontiguousarray(vectors, dtype=np.float32))
    return lists


def _selector(allowed: Mask | None) -> Any:
    """A FAISS selector of the allowed rows; None: all."""
    return None if allowed is None or allowed.all() else faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
