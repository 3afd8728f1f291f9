import datetime

from aisle.v1 import recommendation_service_pb2 as _recommendation_service_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EventType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EVENT_TYPE_UNSPECIFIED: _ClassVar[EventType]
    EVENT_TYPE_VIEW: _ClassVar[EventType]
    EVENT_TYPE_CLICK: _ClassVar[EventType]
    EVENT_TYPE_ADD_TO_CART: _ClassVar[EventType]
    EVENT_TYPE_REMOVE_FROM_CART: _ClassVar[EventType]
    EVENT_TYPE_PURCHASE: _ClassVar[EventType]
    EVENT_TYPE_REVIEW: _ClassVar[EventType]
    EVENT_TYPE_SHARE: _ClassVar[EventType]
    EVENT_TYPE_SEARCH: _ClassVar[EventType]
    EVENT_TYPE_IMPRESSION: _ClassVar[EventType]

class EventStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EVENT_STATUS_UNSPECIFIED: _ClassVar[EventStatus]
    EVENT_STATUS_ACCEPTED: _ClassVar[EventStatus]
    EVENT_STATUS_DUPLICATE: _ClassVar[EventStatus]
    EVENT_STATUS_INVALID: _ClassVar[EventStatus]
    EVENT_STATUS_UNAVAILABLE: _ClassVar[EventStatus]
    EVENT_STATUS_OPTED_OUT: _ClassVar[EventStatus]
EVENT_TYPE_UNSPECIFIED: EventType
EVENT_TYPE_VIEW: EventType
EVENT_TYPE_CLICK: EventType
EVENT_TYPE_ADD_TO_CART: EventType
EVENT_TYPE_REMOVE_FROM_CART: EventType
EVENT_TYPE_PURCHASE: EventType
EVENT_TYPE_REVIEW: EventType
EVENT_TYPE_SHARE: EventType
EVENT_TYPE_SEARCH: EventType
EVENT_TYPE_IMPRESSION: EventType
EVENT_STATUS_UNSPECIFIED: EventStatus
EVENT_STATUS_ACCEPTED: EventStatus
EVENT_STATUS_DUPLICATE: EventStatus
EVENT_STATUS_INVALID: EventStatus
EVENT_STATUS_UNAVAILABLE: EventStatus
EVENT_STATUS_OPTED_OUT: EventStatus

class Event(_message.Message):
    __slots__ = ("event_id", "event_type", "event_time", "user_id", "visitor_id", "session_id", "recommendation_id", "item_id", "quantity", "price", "search_query", "impression_item_ids", "placement", "impression_propensities", "rating", "attributes")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    VISITOR_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDATION_ID_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    SEARCH_QUERY_FIELD_NUMBER: _ClassVar[int]
    IMPRESSION_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    IMPRESSION_PROPENSITIES_FIELD_NUMBER: _ClassVar[int]
    RATING_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    event_type: EventType
    event_time: _timestamp_pb2.Timestamp
    user_id: str
    visitor_id: str
    session_id: str
    recommendation_id: str
    item_id: str
    quantity: int
    price: float
    search_query: str
    impression_item_ids: _containers.RepeatedScalarFieldContainer[str]
    placement: _recommendation_service_pb2.Placement
    impression_propensities: _containers.RepeatedScalarFieldContainer[float]
    rating: float
    attributes: _containers.ScalarMap[str, str]
    def __init__(self, event_id: _Optional[str] = ..., event_type: _Optional[_Union[EventType, str]] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., user_id: _Optional[str] = ..., visitor_id: _Optional[str] = ..., session_id: _Optional[str] = ..., recommendation_id: _Optional[str] = ..., item_id: _Optional[str] = ..., quantity: _Optional[int] = ..., price: _Optional[float] = ..., search_query: _Optional[str] = ..., impression_item_ids: _Optional[_Iterable[str]] = ..., placement: _Optional[_Union[_recommendation_service_pb2.Placement, str]] = ..., impression_propensities: _Optional[_Iterable[float]] = ..., rating: _Optional[float] = ..., attributes: _Optional[_Mapping[str, str]] = ...) -> None: ...

class EventResult(_message.Message):
    __slots__ = ("event_id", "status", "field", "description")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    status: EventStatus
    field: str
    description: str
    def __init__(self, event_id: _Optional[str] = ..., status: _Optional[_Union[EventStatus, str]] = ..., field: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...

class WriteEventsRequest(_message.Message):
    __slots__ = ("tenant", "events", "validate_only")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    events: _containers.RepeatedCompositeFieldContainer[Event]
    validate_only: bool
    def __init__(self, tenant: _Optional[str] = ..., events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class WriteEventsResponse(_message.Message):
    __slots__ = ("results", "accepted_count")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_COUNT_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[EventResult]
    accepted_count: int
    def __init__(self, results: _Optional[_Iterable[_Union[EventResult, _Mapping]]] = ..., accepted_count: _Optional[int] = ...) -> None: ...

class PurgeUserRequest(_message.Message):
    __slots__ = ("tenant", "user_id", "visitor_id", "validate_only")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    VISITOR_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    user_id: str
    visitor_id: str
    validate_only: bool
    def __init__(self, tenant: _Optional[str] = ..., user_id: _Optional[str] = ..., visitor_id: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class PurgedStore(_message.Message):
    __slots__ = ("name", "removed_count", "remaining_count")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REMOVED_COUNT_FIELD_NUMBER: _ClassVar[int]
    REMAINING_COUNT_FIELD_NUMBER: _ClassVar[int]
    name: str
    removed_count: int
    remaining_count: int
    def __init__(self, name: _Optional[str] = ..., removed_count: _Optional[int] = ..., remaining_count: _Optional[int] = ...) -> None: ...

class PurgeUserResponse(_message.Message):
    __slots__ = ("stores", "audit_hash", "purge_time")
    STORES_FIELD_NUMBER: _ClassVar[int]
    AUDIT_HASH_FIELD_NUMBER: _ClassVar[int]
    PURGE_TIME_FIELD_NUMBER: _ClassVar[int]
    stores: _containers.RepeatedCompositeFieldContainer[PurgedStore]
    audit_hash: str
    purge_time: _timestamp_pb2.Timestamp
    def __init__(self, stores: _Optional[_Iterable[_Union[PurgedStore, _Mapping]]] = ..., audit_hash: _Optional[str] = ..., purge_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class SetOptOutRequest(_message.Message):
    __slots__ = ("tenant", "user_id", "visitor_id", "opted_out")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    VISITOR_ID_FIELD_NUMBER: _ClassVar[int]
    OPTED_OUT_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    user_id: str
    visitor_id: str
    opted_out: bool
    def __init__(self, tenant: _Optional[str] = ..., user_id: _Optional[str] = ..., visitor_id: _Optional[str] = ..., opted_out: _Optional[bool] = ...) -> None: ...

class SetOptOutResponse(_message.Message):
    __slots__ = ("opted_out",)
    OPTED_OUT_FIELD_NUMBER: _ClassVar[int]
    opted_out: bool
    def __init__(self, opted_out: _Optional[bool] = ...) -> None: ...

class ExportUserRequest(_message.Message):
    __slots__ = ("tenant", "user_id", "visitor_id", "page_size", "page_token")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    VISITOR_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    user_id: str
    visitor_id: str
    page_size: int
    page_token: str
    def __init__(self, tenant: _Optional[str] = ..., user_id: _Optional[str] = ..., visitor_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ExportUserResponse(_message.Message):
    __slots__ = ("events", "features", "next_page_token", "visitor_features")
    class FeaturesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class VisitorFeaturesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    VISITOR_FEATURES_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    features: _containers.ScalarMap[str, str]
    next_page_token: str
    visitor_features: _containers.ScalarMap[str, str]
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., features: _Optional[_Mapping[str, str]] = ..., next_page_token: _Optional[str] = ..., visitor_features: _Optional[_Mapping[str, str]] = ...) -> None: ...
