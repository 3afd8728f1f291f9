"""What the services' settings ask for together, and how large a request may be."""

from pathlib import Path

import pytest
from aisle.v1 import recommendation_service_pb2 as messages
from aisle.v1 import retrieval_service_pb2

from services.common.limits import (
    ALLOWED_ROWS_BYTES_MAX,
    BATCH_REQUESTS_MAX,
    EXCLUDED_ROWS_MAX,
    FILTER_ITEMS_MAX,
    ID_CHARACTERS_MAX,
    VECTOR_WIDTH,
    VECTORS_MAX,
)
from services.common.settings import SettingsError
from services.common.validation import check
from services.ranking.settings import RankingSettings
from services.retrieval.app import RetrievalSettings


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"RETRIEVAL_API_KEY": "secret"}, "AISLE_RETRIEVAL_API_KEY needs AISLE_RETRIEVAL_CA"),
        ({"RETRIEVAL_KEY": "/dev/null"}, "AISLE_RETRIEVAL_KEY: Path does not point to a file"),
        ({"TLS_CLIENT_CA": "FILE"}, "AISLE_TLS_CLIENT_CA needs AISLE_TLS_CERTIFICATE"),
        ({"TRITON_CERTIFICATE": "FILE", "TRITON_KEY": "FILE"}, "AISLE_TRITON_CERTIFICATE needs AISLE_TRITON_CA"),
    ],
)
def test_half_a_configuration_is_refused_and_no_secret_is_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: dict[str, str], fault: str
) -> None:
    (tmp_path / "file").touch()
    for key, value in given.items():
        monkeypatch.setenv(f"AISLE_{key}", value.replace("FILE", str(tmp_path / "file")))
    with pytest.raises(SettingsError, match=fault) as caught:
        RankingSettings.read()
    assert "secret" not in str(caught.value)


def test_the_largest_search_is_within_the_largest_request() -> None:
    request = retrieval_service_pb2.SearchRequest(
        tenant="x" * ID_CHARACTERS_MAX,
        bundle_version="\N{LATIN SMALL LETTER E WITH ACUTE}" * ID_CHARACTERS_MAX,
        vectors=[1.0] * (VECTORS_MAX * VECTOR_WIDTH),
        result_count=1000,
        excluded_rows=[-1] * EXCLUDED_ROWS_MAX,  # ten bytes each, the longest there are
        allowed_rows_bitmap=b"x" * ALLOWED_ROWS_BYTES_MAX,
    )
    check(request)
    assert request.ByteSize() <= RetrievalSettings().request_bytes_max


def test_a_page_of_lists_each_with_all_the_items_it_may_name_is_within_the_largest_request() -> None:
    names = [f"{number:0{ID_CHARACTERS_MAX}}" for number in range(FILTER_ITEMS_MAX)]
    item_filter = messages.Filter(include_item_ids=names, exclude_item_ids=names)
    request = messages.BatchRecommendRequest(
        requests=[messages.RecommendRequest(placement=messages.PLACEMENT_CATEGORY, filter=item_filter)]
        * BATCH_REQUESTS_MAX
    )
    check(request)
    assert request.ByteSize() <= RankingSettings().request_bytes_max
