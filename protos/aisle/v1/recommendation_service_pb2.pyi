from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Placement(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PLACEMENT_UNSPECIFIED: _ClassVar[Placement]
    PLACEMENT_RECOMMENDED_FOR_YOU: _ClassVar[Placement]
    PLACEMENT_SIMILAR_ITEMS: _ClassVar[Placement]
    PLACEMENT_OTHERS_YOU_MAY_LIKE: _ClassVar[Placement]
    PLACEMENT_FREQUENTLY_BOUGHT_TOGETHER: _ClassVar[Placement]
    PLACEMENT_BUY_IT_AGAIN: _ClassVar[Placement]
    PLACEMENT_RECENTLY_VIEWED: _ClassVar[Placement]
    PLACEMENT_TRENDING: _ClassVar[Placement]
    PLACEMENT_BEST_SELLERS: _ClassVar[Placement]
    PLACEMENT_CATEGORY: _ClassVar[Placement]
    PLACEMENT_SEARCH_RERANK: _ClassVar[Placement]

class DiversityLevel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DIVERSITY_LEVEL_UNSPECIFIED: _ClassVar[DiversityLevel]
    DIVERSITY_LEVEL_NONE: _ClassVar[DiversityLevel]
    DIVERSITY_LEVEL_LOW: _ClassVar[DiversityLevel]
    DIVERSITY_LEVEL_MEDIUM: _ClassVar[DiversityLevel]
    DIVERSITY_LEVEL_HIGH: _ClassVar[DiversityLevel]
    DIVERSITY_LEVEL_AUTO: _ClassVar[DiversityLevel]

class PriceRerankLevel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRICE_RERANK_LEVEL_UNSPECIFIED: _ClassVar[PriceRerankLevel]
    PRICE_RERANK_LEVEL_NONE: _ClassVar[PriceRerankLevel]
    PRICE_RERANK_LEVEL_LOW: _ClassVar[PriceRerankLevel]
    PRICE_RERANK_LEVEL_MEDIUM: _ClassVar[PriceRerankLevel]
    PRICE_RERANK_LEVEL_HIGH: _ClassVar[PriceRerankLevel]

class CandidateSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CANDIDATE_SOURCE_UNSPECIFIED: _ClassVar[CandidateSource]
    CANDIDATE_SOURCE_REQUEST: _ClassVar[CandidateSource]
    CANDIDATE_SOURCE_INTEREST: _ClassVar[CandidateSource]
    CANDIDATE_SOURCE_BUY_AGAIN: _ClassVar[CandidateSource]
    CANDIDATE_SOURCE_SIMILAR: _ClassVar[CandidateSource]
    CANDIDATE_SOURCE_BOUGHT_TOGETHER: _ClassVar[CandidateSource]
    CANDIDATE_SOURCE_SAME_CATEGORY: _ClassVar[CandidateSource]
    CANDIDATE_SOURCE_RECENTLY_VIEWED: _ClassVar[CandidateSource]
    CANDIDATE_SOURCE_TRENDING: _ClassVar[CandidateSource]
    CANDIDATE_SOURCE_POPULAR: _ClassVar[CandidateSource]
    CANDIDATE_SOURCE_NEW_ITEM: _ClassVar[CandidateSource]
    CANDIDATE_SOURCE_PROMOTION: _ClassVar[CandidateSource]
    CANDIDATE_SOURCE_EXPLORATION: _ClassVar[CandidateSource]

class Degradation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEGRADATION_UNSPECIFIED: _ClassVar[Degradation]
    DEGRADATION_INTEREST_FALLBACK: _ClassVar[Degradation]
    DEGRADATION_USER_FEATURES_FALLBACK: _ClassVar[Degradation]
    DEGRADATION_RETRIEVAL_FALLBACK: _ClassVar[Degradation]
    DEGRADATION_POPULARITY_ONLY: _ClassVar[Degradation]
    DEGRADATION_STALE_FEATURES: _ClassVar[Degradation]
PLACEMENT_UNSPECIFIED: Placement
PLACEMENT_RECOMMENDED_FOR_YOU: Placement
PLACEMENT_SIMILAR_ITEMS: Placement
PLACEMENT_OTHERS_YOU_MAY_LIKE: Placement
PLACEMENT_FREQUENTLY_BOUGHT_TOGETHER: Placement
PLACEMENT_BUY_IT_AGAIN: Placement
PLACEMENT_RECENTLY_VIEWED: Placement
PLACEMENT_TRENDING: Placement
PLACEMENT_BEST_SELLERS: Placement
PLACEMENT_CATEGORY: Placement
PLACEMENT_SEARCH_RERANK: Placement
DIVERSITY_LEVEL_UNSPECIFIED: DiversityLevel
DIVERSITY_LEVEL_NONE: DiversityLevel
DIVERSITY_LEVEL_LOW: DiversityLevel
DIVERSITY_LEVEL_MEDIUM: DiversityLevel
DIVERSITY_LEVEL_HIGH: DiversityLevel
DIVERSITY_LEVEL_AUTO: DiversityLevel
PRICE_RERANK_LEVEL_UNSPECIFIED: PriceRerankLevel
PRICE_RERANK_LEVEL_NONE: PriceRerankLevel
PRICE_RERANK_LEVEL_LOW: PriceRerankLevel
PRICE_RERANK_LEVEL_MEDIUM: PriceRerankLevel
PRICE_RERANK_LEVEL_HIGH: PriceRerankLevel
CANDIDATE_SOURCE_UNSPECIFIED: CandidateSource
CANDIDATE_SOURCE_REQUEST: CandidateSource
CANDIDATE_SOURCE_INTEREST: CandidateSource
CANDIDATE_SOURCE_BUY_AGAIN: CandidateSource
CANDIDATE_SOURCE_SIMILAR: CandidateSource
CANDIDATE_SOURCE_BOUGHT_TOGETHER: CandidateSource
CANDIDATE_SOURCE_SAME_CATEGORY: CandidateSource
CANDIDATE_SOURCE_RECENTLY_VIEWED: CandidateSource
CANDIDATE_SOURCE_TRENDING: CandidateSource
CANDIDATE_SOURCE_POPULAR: CandidateSource
CANDIDATE_SOURCE_NEW_ITEM: CandidateSource
CANDIDATE_SOURCE_PROMOTION: CandidateSource
CANDIDATE_SOURCE_EXPLORATION: CandidateSource
DEGRADATION_UNSPECIFIED: Degradation
DEGRADATION_INTEREST_FALLBACK: Degradation
DEGRADATION_USER_FEATURES_FALLBACK: Degradation
DEGRADATION_RETRIEVAL_FALLBACK: Degradation
DEGRADATION_POPULARITY_ONLY: Degradation
DEGRADATION_STALE_FEATURES: Degradation

class RankedItem(_message.Message):
    __slots__ = ("item_id", "score", "interest_score", "source", "reasons", "promotion_name", "stage_scores", "explanation", "propensity")
    class StageScoresEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    INTEREST_SCORE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    PROMOTION_NAME_FIELD_NUMBER: _ClassVar[int]
    STAGE_SCORES_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    score: float
    interest_score: float
    source: CandidateSource
    reasons: _containers.RepeatedScalarFieldContainer[str]
    promotion_name: str
    stage_scores: _containers.ScalarMap[str, float]
    explanation: Explanation
    propensity: float
    def __init__(self, item_id: _Optional[str] = ..., score: _Optional[float] = ..., interest_score: _Optional[float] = ..., source: _Optional[_Union[CandidateSource, str]] = ..., reasons: _Optional[_Iterable[str]] = ..., promotion_name: _Optional[str] = ..., stage_scores: _Optional[_Mapping[str, float]] = ..., explanation: _Optional[_Union[Explanation, _Mapping]] = ..., propensity: _Optional[float] = ...) -> None: ...

class Explanation(_message.Message):
    __slots__ = ("contributions", "baseline_score", "evidence_item_ids")
    CONTRIBUTIONS_FIELD_NUMBER: _ClassVar[int]
    BASELINE_SCORE_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    contributions: _containers.RepeatedCompositeFieldContainer[FeatureContribution]
    baseline_score: float
    evidence_item_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, contributions: _Optional[_Iterable[_Union[FeatureContribution, _Mapping]]] = ..., baseline_score: _Optional[float] = ..., evidence_item_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class FeatureContribution(_message.Message):
    __slots__ = ("feature_name", "value", "contribution")
    FEATURE_NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    feature_name: str
    value: float
    contribution: float
    def __init__(self, feature_name: _Optional[str] = ..., value: _Optional[float] = ..., contribution: _Optional[float] = ...) -> None: ...

class Filter(_message.Message):
    __slots__ = ("include_categories", "exclude_categories", "include_brands", "exclude_brands", "include_item_ids", "exclude_item_ids", "price_range", "in_stock_only", "exclude_purchased_within_days", "attribute_conditions", "allow_sensitive", "strict")
    INCLUDE_CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_BRANDS_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_BRANDS_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    PRICE_RANGE_FIELD_NUMBER: _ClassVar[int]
    IN_STOCK_ONLY_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_PURCHASED_WITHIN_DAYS_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTE_CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    ALLOW_SENSITIVE_FIELD_NUMBER: _ClassVar[int]
    STRICT_FIELD_NUMBER: _ClassVar[int]
    include_categories: _containers.RepeatedScalarFieldContainer[str]
    exclude_categories: _containers.RepeatedScalarFieldContainer[str]
    include_brands: _containers.RepeatedScalarFieldContainer[str]
    exclude_brands: _containers.RepeatedScalarFieldContainer[str]
    include_item_ids: _containers.RepeatedScalarFieldContainer[str]
    exclude_item_ids: _containers.RepeatedScalarFieldContainer[str]
    price_range: PriceRange
    in_stock_only: bool
    exclude_purchased_within_days: int
    attribute_conditions: _containers.RepeatedCompositeFieldContainer[AttributeCondition]
    allow_sensitive: bool
    strict: bool
    def __init__(self, include_categories: _Optional[_Iterable[str]] = ..., exclude_categories: _Optional[_Iterable[str]] = ..., include_brands: _Optional[_Iterable[str]] = ..., exclude_brands: _Optional[_Iterable[str]] = ..., include_item_ids: _Optional[_Iterable[str]] = ..., exclude_item_ids: _Optional[_Iterable[str]] = ..., price_range: _Optional[_Union[PriceRange, _Mapping]] = ..., in_stock_only: _Optional[bool] = ..., exclude_purchased_within_days: _Optional[int] = ..., attribute_conditions: _Optional[_Iterable[_Union[AttributeCondition, _Mapping]]] = ..., allow_sensitive: _Optional[bool] = ..., strict: _Optional[bool] = ...) -> None: ...

class PriceRange(_message.Message):
    __slots__ = ("minimum_price", "maximum_price")
    MINIMUM_PRICE_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_PRICE_FIELD_NUMBER: _ClassVar[int]
    minimum_price: float
    maximum_price: float
    def __init__(self, minimum_price: _Optional[float] = ..., maximum_price: _Optional[float] = ...) -> None: ...

class AttributeCondition(_message.Message):
    __slots__ = ("name", "include_values", "exclude_values")
    NAME_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_VALUES_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_VALUES_FIELD_NUMBER: _ClassVar[int]
    name: str
    include_values: _containers.RepeatedScalarFieldContainer[str]
    exclude_values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., include_values: _Optional[_Iterable[str]] = ..., exclude_values: _Optional[_Iterable[str]] = ...) -> None: ...

class Promotion(_message.Message):
    __slots__ = ("name", "promoted_percent", "filter", "pinned_position")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROMOTED_PERCENT_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PINNED_POSITION_FIELD_NUMBER: _ClassVar[int]
    name: str
    promoted_percent: int
    filter: Filter
    pinned_position: int
    def __init__(self, name: _Optional[str] = ..., promoted_percent: _Optional[int] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ..., pinned_position: _Optional[int] = ...) -> None: ...

class RecommendRequest(_message.Message):
    __slots__ = ("tenant", "placement", "user_id", "visitor_id", "session_id", "context_item_ids", "page_size", "page_token", "filter", "diversity_level", "price_rerank_level", "promotions", "exploration_weight", "experiment_overrides", "explain", "validate_only")
    class ExperimentOverridesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TENANT_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    VISITOR_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    DIVERSITY_LEVEL_FIELD_NUMBER: _ClassVar[int]
    PRICE_RERANK_LEVEL_FIELD_NUMBER: _ClassVar[int]
    PROMOTIONS_FIELD_NUMBER: _ClassVar[int]
    EXPLORATION_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_OVERRIDES_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    placement: Placement
    user_id: str
    visitor_id: str
    session_id: str
    context_item_ids: _containers.RepeatedScalarFieldContainer[str]
    page_size: int
    page_token: str
    filter: Filter
    diversity_level: DiversityLevel
    price_rerank_level: PriceRerankLevel
    promotions: _containers.RepeatedCompositeFieldContainer[Promotion]
    exploration_weight: float
    experiment_overrides: _containers.ScalarMap[str, str]
    explain: bool
    validate_only: bool
    def __init__(self, tenant: _Optional[str] = ..., placement: _Optional[_Union[Placement, str]] = ..., user_id: _Optional[str] = ..., visitor_id: _Optional[str] = ..., session_id: _Optional[str] = ..., context_item_ids: _Optional[_Iterable[str]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ..., diversity_level: _Optional[_Union[DiversityLevel, str]] = ..., price_rerank_level: _Optional[_Union[PriceRerankLevel, str]] = ..., promotions: _Optional[_Iterable[_Union[Promotion, _Mapping]]] = ..., exploration_weight: _Optional[float] = ..., experiment_overrides: _Optional[_Mapping[str, str]] = ..., explain: _Optional[bool] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class RecommendResponse(_message.Message):
    __slots__ = ("results", "recommendation_id", "next_page_token", "missing_ids", "bundle_version", "experiment_ids", "stage_timings_ms", "degradations")
    class StageTimingsMsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDATION_ID_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MISSING_IDS_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_IDS_FIELD_NUMBER: _ClassVar[int]
    STAGE_TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    DEGRADATIONS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[RankedItem]
    recommendation_id: str
    next_page_token: str
    missing_ids: _containers.RepeatedScalarFieldContainer[str]
    bundle_version: str
    experiment_ids: _containers.RepeatedScalarFieldContainer[str]
    stage_timings_ms: _containers.ScalarMap[str, float]
    degradations: _containers.RepeatedScalarFieldContainer[Degradation]
    def __init__(self, results: _Optional[_Iterable[_Union[RankedItem, _Mapping]]] = ..., recommendation_id: _Optional[str] = ..., next_page_token: _Optional[str] = ..., missing_ids: _Optional[_Iterable[str]] = ..., bundle_version: _Optional[str] = ..., experiment_ids: _Optional[_Iterable[str]] = ..., stage_timings_ms: _Optional[_Mapping[str, float]] = ..., degradations: _Optional[_Iterable[_Union[Degradation, str]]] = ...) -> None: ...

class RankRequest(_message.Message):
    __slots__ = ("tenant", "placement", "user_id", "visitor_id", "session_id", "item_ids", "context_item_ids", "filter", "diversity_level", "price_rerank_level", "experiment_overrides", "explain", "validate_only")
    class ExperimentOverridesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TENANT_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    VISITOR_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    DIVERSITY_LEVEL_FIELD_NUMBER: _ClassVar[int]
    PRICE_RERANK_LEVEL_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_OVERRIDES_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    placement: Placement
    user_id: str
    visitor_id: str
    session_id: str
    item_ids: _containers.RepeatedScalarFieldContainer[str]
    context_item_ids: _containers.RepeatedScalarFieldContainer[str]
    filter: Filter
    diversity_level: DiversityLevel
    price_rerank_level: PriceRerankLevel
    experiment_overrides: _containers.ScalarMap[str, str]
    explain: bool
    validate_only: bool
    def __init__(self, tenant: _Optional[str] = ..., placement: _Optional[_Union[Placement, str]] = ..., user_id: _Optional[str] = ..., visitor_id: _Optional[str] = ..., session_id: _Optional[str] = ..., item_ids: _Optional[_Iterable[str]] = ..., context_item_ids: _Optional[_Iterable[str]] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ..., diversity_level: _Optional[_Union[DiversityLevel, str]] = ..., price_rerank_level: _Optional[_Union[PriceRerankLevel, str]] = ..., experiment_overrides: _Optional[_Mapping[str, str]] = ..., explain: _Optional[bool] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class RankResponse(_message.Message):
    __slots__ = ("results", "recommendation_id", "missing_ids", "bundle_version", "experiment_ids", "stage_timings_ms", "degradations")
    class StageTimingsMsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDATION_ID_FIELD_NUMBER: _ClassVar[int]
    MISSING_IDS_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_IDS_FIELD_NUMBER: _ClassVar[int]
    STAGE_TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    DEGRADATIONS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[RankedItem]
    recommendation_id: str
    missing_ids: _containers.RepeatedScalarFieldContainer[str]
    bundle_version: str
    experiment_ids: _containers.RepeatedScalarFieldContainer[str]
    stage_timings_ms: _containers.ScalarMap[str, float]
    degradations: _containers.RepeatedScalarFieldContainer[Degradation]
    def __init__(self, results: _Optional[_Iterable[_Union[RankedItem, _Mapping]]] = ..., recommendation_id: _Optional[str] = ..., missing_ids: _Optional[_Iterable[str]] = ..., bundle_version: _Optional[str] = ..., experiment_ids: _Optional[_Iterable[str]] = ..., stage_timings_ms: _Optional[_Mapping[str, float]] = ..., degradations: _Optional[_Iterable[_Union[Degradation, str]]] = ...) -> None: ...

class BatchRecommendRequest(_message.Message):
    __slots__ = ("tenant", "user_id", "visitor_id", "session_id", "requests", "validate_only")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    VISITOR_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    user_id: str
    visitor_id: str
    session_id: str
    requests: _containers.RepeatedCompositeFieldContainer[RecommendRequest]
    validate_only: bool
    def __init__(self, tenant: _Optional[str] = ..., user_id: _Optional[str] = ..., visitor_id: _Optional[str] = ..., session_id: _Optional[str] = ..., requests: _Optional[_Iterable[_Union[RecommendRequest, _Mapping]]] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class BatchRecommendResponse(_message.Message):
    __slots__ = ("responses",)
    RESPONSES_FIELD_NUMBER: _ClassVar[int]
    responses: _containers.RepeatedCompositeFieldContainer[RecommendResponse]
    def __init__(self, responses: _Optional[_Iterable[_Union[RecommendResponse, _Mapping]]] = ...) -> None: ...
