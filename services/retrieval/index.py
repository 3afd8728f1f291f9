"""The vector index: rows with the greatest dot product. The only file that imports FAISS.

Shapes: N rows in the index, Q queries, D numbers in a vector, K results for a query, E excluded rows.

Choices: exact search up to `EXACT_ROWS_MAX` rows, an HNSW graph beyond, with an exact search behind it wherever the
graph finds too little. Excluded rows are left out inside the search, so that a filter cannot empty a list. Order is
decided by score, then row, also where equal scores straddle the end of the list (many products share their text, hence
their vector). A query's result does not depend on the queries beside it. One thread: FAISS keeps an OpenMP pool for
every calling thread, and small searches only wait for it. Knows nothing of item ids, bundles or requests.
"""

from pathlib import Path
from typing import Any, Literal, Self

import faiss as _faiss
import numpy as np
from numpy.typing import NDArray

faiss: Any = _faiss  # the wheel's type stubs lack what its Python layer adds

EXACT_ROWS_MAX = 100_000
"""Up to this many rows a search is exact: it reads them all, about 20 ns a row."""

HNSW_NEIGHBORS = 32
HNSW_CONSTRUCTION_WIDTH = 200
HNSW_SEARCH_WIDTH = 128

MISSING_ROW = -1
"""What fills the end of a result that has fewer than K rows; its score is minus infinity."""

# Fetched beyond K to see whether equal scores straddle the end; four times as many when they may go on.
_EXTRA_RESULTS = 16

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]


class Index:
    """An immutable index over the rows 0 to N - 1."""

    def __init__(self, index: Any) -> None:
        """Args: index: a FAISS `IndexFlatIP` or `IndexHNSWFlat` with the inner product as its metric."""
        self._index = index
        known = isinstance(self._index, faiss.IndexFlat | faiss.IndexHNSWFlat)
        if not known or self._index.metric_type != faiss.METRIC_INNER_PRODUCT:
            raise ValueError(f"index: {type(self._index).__name__} is not an inner-product index of a known kind")

    @property
    def kind(self) -> Literal["flat", "hnsw"]:
        """How it searches: exactly, or over a graph."""
        return "hnsw" if isinstance(self._index, faiss.IndexHNSWFlat) else "flat"

    @property
    def row_count(self) -> int:
        """N."""
        return int(self._index.ntotal)

    @property
    def dimension(self) -> int:
        """D."""
        return int(self._index.d)

    def search(self, queries: Float32, k: int, excluded_rows: Int32 | None = None) -> tuple[Int32, Float32]:
        """Finds the K rows with the greatest dot product for each query.

        Args:
            queries: [Q, D], float32, finite.
            k: K, 1 or more; may exceed N.
            excluded_rows: [E], int32, rows not to return, in any order; those outside the index have no effect.

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
        # Per calling thread, hence here: OpenMP's setting belongs to the thread that makes it.
        faiss.omp_set_num_threads(1)
        selector, available = self._selector(excluded_rows)
        rows = np.full((len(queries), k), MISSING_ROW, dtype=np.int32)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        end, fetched = min(k, available), min(k + _EXTRA_RESULTS, available)
        undecided = np.arange(len(queries)) if end else np.empty(0, dtype=np.int64)
        while len(undecided):
            best_rows, best_scores = self._ordered(queries[undecided], fetched, selector)
            rows[undecided, :end], scores[undecided, :end] = best_rows[:, :end], best_scores[:, :end]
            straddling = best_scores[:, end - 1] == best_scores[:, -1]
            undecided = undecided[straddling & (fetched < available)]
            fetched = min(4 * fetched, available)
        return rows, scores

    def recall_at(self, queries: Float32, k: int) -> float:
        """The share of the exact K best results that `search` finds, 0 to 1; rows of equal score count as one another.

        Args:
            queries: [Q, D], float32; Q at least 1.
            k: K, 1 or more, at most N.
        """
        _, found = self.search(queries, k)
        _, exact = Index(self._storage()).search(queries, k)
        return float((found >= exact[:, -1:]).mean())

    def save(self, path: Path) -> None:
        """Writes the index to one file."""
        faiss.write_index(self._index, str(path))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            ValueError: the file is not an index of a known kind.
        """
        try:
            return cls(faiss.read_index(str(path)))
        except RuntimeError as error:
            raise ValueError(f"{path}: not a FAISS index: {error}") from error

    def _selector(self, excluded_rows: Int32 | None) -> tuple[Any, int]:
        """A FAISS selector of the rows that may be returned (None: all), and how many those are."""
        if excluded_rows is None or not len(excluded_rows):
            return None, self.row_count
        allowed = np.ones(self.row_count, dtype=bool)
        allowed[excluded_rows[(excluded_rows >= 0) & (excluded_rows < self.row_count)]] = False
        return faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little")), int(allowed.sum())

    def _ordered(self, queries: Float32, k: int, selector: Any) -> tuple[NDArray[np.int64], Float32]:
        """Some K best rows, [Q, K], and their scores, in order; FAISS chooses among equal scores as it likes."""
        scores, rows = self._fetch(np.ascontiguousarray(queries, dtype=np.float32), k, selector)
        order = np.lexsort((rows, -scores), axis=1)
        return np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)

    def _fetch(self, queries: Float32, k: int, selector: Any) -> tuple[Float32, NDArray[np.int64]]:
        """FAISS's own answer: scores and rows, [Q, K], K at most the count of selected rows."""
        if self.kind == "flat":
            return _search(self._index, queries, k, faiss.SearchParameters(sel=selector))
        width = max(HNSW_SEARCH_WIDTH, k)
        scores, rows = _search(self._index, queries, k, faiss.SearchParametersHNSW(sel=selector, efSearch=width))
        short = (rows == MISSING_ROW).any(axis=1)  # the graph's paths to the selected rows were cut off
        if short.any():
            exact = _search(self._storage(), queries[short], k, faiss.SearchParameters(sel=selector))
            scores[short], rows[short] = exact
        return scores, rows

    def _storage(self) -> Any:
        """The exact index within; lives only as long as this object."""
        return faiss.downcast_index(self._index.storage) if self.kind == "hnsw" else self._index


def build_index(vectors: Float32, *, exact_rows_max: int = EXACT_ROWS_MAX) -> Index:
    """Builds the index that suits the number of rows; the same vectors give the same index.

    Args:
        vectors: [N, D], float32, finite; N may be 0.
        exact_rows_max: N up to which the index is exact.

    Raises:
        ValueError: a wrong shape, or a row with a number that is not finite.
    """
    if vectors.ndim != 2:
        raise ValueError(f"vectors: shape {vectors.shape}, expected (N, D)")
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise ValueError(f"vectors: row {bad[0]} is not finite")
    faiss.omp_set_num_threads(1)  # with several, the graph depends on which thread was first
    if len(vectors) <= exact_rows_max:
        index = faiss.IndexFlatIP(vectors.shape[1])
    else:
        index = faiss.IndexHNSWFlat(vectors.shape[1], HNSW_NEIGHBORS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = HNSW_CONSTRUCTION_WIDTH
    index.add(np.ascontiguousarray(vectors, dtype=np.float32))
    return Index(index)


def _search(index: Any, queries: Float32, k: int, parameters: Any) -> tuple[Float32, NDArray[np.int64]]:
    scores, rows = index.search(queries, k, params=parameters)
    return scores, rows
