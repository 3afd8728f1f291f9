"""An index and what has changed since it was built: other vectors for some rows, rows that are new, rows that are gone.

Shapes: N rows in the index, M >= N rows in all, n of them changed, Q queries, D numbers in a vector, K results.

Choices:
- The changed rows are searched exactly, as a second index beside the first, whose own answers for them are hidden by
  its filter. Both compute a score in the same way, so that equal vectors have equal scores whichever index they are in.
- The two answers are merged by score, then row: what one index over all rows would answer. So the first of them may be
  searched elsewhere, in another process (`merge`).

Knows nothing of item ids or of what a change is.
"""

from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray

from services.retrieval.index import Float32, Index, Int32, Mask, build_index

_ROUNDING = np.float32(1e-4)
"""How far apart cosines may be that are one and the same: vectors are kept in half precision."""


def directions(vectors: Float32) -> Float32:
    """Vectors of length one, float32 [n, D]; a vector of zeros stays one."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Float32 = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return unit


class DeltaIndex:
    """Immutable, over the rows 0 to M - 1; searched like an `Index`."""

    def __init__(
        self,
        base: Index,
        vectors: Float32,
        rows: Int32,
        hidden: Int32,
        row_count: int,
        reach: Float32 | None = None,
    ) -> None:
        """Put what has changed beside an index.

        Args:
            base: Over the rows 0 to N - 1.
            vectors: [n, D], float32, finite; kept in half precision.
            rows: [n], int32, ascending: which rows these are the vectors of.
            hidden: int32, rows below N that `base` must not answer with; those of `rows` need not be among them.
            row_count: M. A row that is in neither index is found by no search.
            reach: [n], float32, the cosine from which on a row answers `neighbours`; None: it never does.

        Raises:
            ValueError: shapes or rows that do not fit.
        """
        if len(vectors) != len(rows) or (np.diff(rows, prepend=-1) <= 0).any():
            raise ValueError(f"rows: expected {len(vectors)} ascending rows, found {len(rows)}")
        if row_count < max(base.row_count, int(rows.max(initial=-1)) + 1):
            raise ValueError(f"row_count: {row_count} is fewer than there are")
        self._base = base
        vectors = vectors.reshape(-1, base.dimension)
        self._changed = build_index(vectors, exact_rows_max=len(vectors))
        self._directions = build_index(directions(vectors), exact_rows_max=len(vectors))
        self._rows: NDArray[np.int32] = rows.astype(np.int32)
        self._hidden = np.union1d(hidden, rows[rows < base.row_count]).astype(np.int32)
        self._row_count = row_count
        self._is_new: Mask = self._rows >= base.row_count
        reach = np.full(len(rows), np.inf, np.float32) if reach is None else reach
        reaching = self._is_new & np.isfinite(reach)
        self._reaching_rows, self._reach = self._rows[reaching], reach[reaching] - _ROUNDING
        self._reaching_directions = directions(vectors[reaching])

    @property
    def kind(self) -> Literal["flat", "lists"]:
        """How the rows that have not changed are searched."""
        return self._base.kind

    @property
    def row_count(self) -> int:
        """M."""
        return self._row_count

    @property
    def dimension(self) -> int:
        """D."""
        return self._base.dimension

    @property
    def has_new(self) -> bool:
        """Whether a search can find a row from N on."""
        return bool(self._is_new.any())

    def search_new(self, queries: Float32, k: int, allowed: Mask | None = None) -> tuple[Int32, Float32]:
        """As `search`, among the rows from N on alone, and as if their vectors had length one."""
        mask = self._is_new if allowed is None else self._is_new & allowed[self._rows]
        places, scores = self._directions.search(queries, k, mask)
        return self._rows_at(places), scores

    def neighbours(self, queries: Float32, allowed: Mask | None = None) -> Int32:
        """The rows from N on that reach as far as one of the queries, those of the largest cosine first.

        Args:
            queries: [Q, D], float32.
            allowed: [M], bool, which rows may be returned. None: all.

        Returns:
            int32, as many as there are; equal ones by rising row.
        """
        rows = self._reaching_rows
        cosines = directions(queries) @ self._reaching_directions.T
        nearest = np.where(cosines >= self._reach, cosines, -np.inf).max(axis=0, initial=-np.inf)
        found = np.flatnonzero(np.isfinite(nearest) & (True if allowed is None else allowed[rows]))
        return rows[found[np.argsort(-nearest[found], kind="stable")]]

    def search_alike(self, queries: Float32, k: int, allowed: Mask | None = None) -> tuple[Int32, Float32]:
        """As `search`, but a changed row counts as if its vector had the length of the query: where vectors are the
        shorter the less is known of a row, that is no reason not to be alike."""
        rows, scores = self._base.search(queries, k, self.base_allowed(allowed))
        more, cosines = self._directions.search(queries, k, self._changed_allowed(allowed))
        return self._merged(rows, scores, more, cosines * np.linalg.norm(queries, axis=1, keepdims=True))

    def search(self, queries: Float32, k: int, allowed: Mask | None = None) -> tuple[Int32, Float32]:
        """See `Index.search`; `allowed` is bool [M]."""
        rows, scores = self._base.search(queries, k, self.base_allowed(allowed))
        return self.merge(rows, scores, queries, allowed)

    @overload
    def base_allowed(self, allowed: Mask) -> Mask: ...

    @overload
    def base_allowed(self, allowed: Mask | None) -> Mask | None: ...

    def base_allowed(self, allowed: Mask | None) -> Mask | None:
        """What a search of the index alone may answer with, bool [N] or all; new where it is not all.

        Raises:
            ValueError: a wrong shape.
        """
        if allowed is not None and allowed.shape != (self._row_count,):
            raise ValueError(f"allowed: shape {allowed.shape}, expected ({self._row_count},)")
        if allowed is None and not self._hidden.size:
            return None
        count = self._base.row_count
        left = np.ones(count, dtype=np.bool_) if allowed is None else allowed[:count].copy()
        left[self._hidden] = False
        return left

    def merge(
        self, rows: Int32, scores: Float32, queries: Float32, allowed: Mask | None = None
    ) -> tuple[Int32, Float32]:
        """The answer for all rows from the answer of the index alone.

        Args:
            rows: [Q, K], int32, from a search with `base_allowed`.
            scores: [Q, K], float32, of the same search.
            queries: [Q, D], float32, as they were searched for.
            allowed: [M], bool, as for `search`.
        """
        return self._merged(rows, scores, *self._changed.search(queries, rows.shape[1], self._changed_allowed(allowed)))

    def _changed_allowed(self, allowed: Mask | None) -> Mask | None:
        return None if allowed is None else allowed[self._rows]

    def _rows_at(self, places: Int32) -> Int32:
        """The rows of places among the changed ones; a missing one stays missing."""
        return np.where(places >= 0, self._rows[places], places) if self._rows.size else places

    def _merged(self, rows: Int32, scores: Float32, more: Int32, more_scores: Float32) -> tuple[Int32, Float32]:
        """The best of both answers, [Q, K] each; `more` are places among the changed rows."""
        if not self._rows.size:
            return rows, scores
        both_rows = np.concatenate([rows, self._rows_at(more)], axis=1)
        both_scores = np.concatenate([scores, more_scores], axis=1)
        order = np.lexsort((both_rows, -both_scores), axis=1)[:, : rows.shape[1]]
        return np.take_along_axis(both_rows, order, axis=1), np.take_along_axis(both_scores, order, axis=1)
