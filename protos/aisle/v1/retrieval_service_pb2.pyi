from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SearchRequest(_message.Message):
    __slots__ = ("tenant", "bundle_version", "vectors", "result_count", "excluded_rows", "allowed_rows_bitmap")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    RESULT_COUNT_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_ROWS_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_ROWS_BITMAP_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    bundle_version: str
    vectors: _containers.RepeatedScalarFieldContainer[float]
    result_count: int
    excluded_rows: _containers.RepeatedScalarFieldContainer[int]
    allowed_rows_bitmap: bytes
    def __init__(self, tenant: _Optional[str] = ..., bundle_version: _Optional[str] = ..., vectors: _Optional[_Iterable[float]] = ..., result_count: _Optional[int] = ..., excluded_rows: _Optional[_Iterable[int]] = ..., allowed_rows_bitmap: _Optional[bytes] = ...) -> None: ...

class Neighbors(_message.Message):
    __slots__ = ("rows", "scores")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedScalarFieldContainer[int]
    scores: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, rows: _Optional[_Iterable[int]] = ..., scores: _Optional[_Iterable[float]] = ...) -> None: ...

class SearchResponse(_message.Message):
    __slots__ = ("bundle_version", "neighbors")
    BUNDLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    NEIGHBORS_FIELD_NUMBER: _ClassVar[int]
    bundle_version: str
    neighbors: _containers.RepeatedCompositeFieldContainer[Neighbors]
    def __init__(self, bundle_version: _Optional[str] = ..., neighbors: _Optional[_Iterable[_Union[Neighbors, _Mapping]]] = ...) -> None: ...
