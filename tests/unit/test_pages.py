"""Page tokens: the very list goes on, in any process and bundle; anything else is refused with the field named."""

import base64
import zlib
from dataclasses import replace

import numpy as np
import pytest
from aisle.v1 import recommendation_service_pb2 as messages
from hypothesis import given
from hypothesis import strategies as st

from features.live_items import LiveItem
from services.common.errors import InvalidField
from services.common.limits import PAGE_TOKEN_CHARACTERS_MAX
from services.ranking.ordering import OrderingModel, Source, drawn, extended, popular, similar
from services.ranking.ordering.rank import joined
from services.ranking.pages import continued, page_token
from tests.strategies import unhurried
from tests.tiny_shop import TinyShop, tiny_shop
from tests.unit.pipeline_world import assert_same

REQUEST = messages.RecommendRequest(
    placement=messages.PLACEMENT_BEST_SELLERS,
    user_id="user-1",
    page_size=3,
    filter=messages.Filter(include_brands=["brand-1"]),
    experiment_overrides={"a": "1", "b": "2"},
)
ID = "0f" * 16


def asked_with(token: str, **changed: object) -> messages.RecommendRequest:
    request = messages.RecommendRequest()
    request.CopyFrom(REQUEST)
    request.MergeFrom(messages.RecommendRequest(page_token=token, **changed))  # type: ignore[arg-type]
    return request


def forged(body: bytes, version: int = 2) -> str:
    return base64.urlsafe_b64encode(bytes([version]) + zlib.crc32(body).to_bytes(4, "little") + body).decode()


def test_what_is_left_comes_back_as_it_was(model: OrderingModel) -> None:
    rest = similar(model, np.array([4], np.int32), 30).tail(3)
    token = page_token(model, REQUEST, ID, rest)
    found = continued(model, asked_with(token, page_size=7, validate_only=True))
    assert found.recommendation_id == ID
    assert_same(found.ranked, rest)


def test_propensities_of_what_was_drawn_come_back(model: OrderingModel) -> None:
    tried = drawn(popular(model, 4), ID).marked(Source.EXPLORATION)
    mixed = joined([popular(model, 9).tail(4), tried])
    found = continued(model, asked_with(page_token(model, REQUEST, ID, mixed))).ranked
    assert_same(found, mixed)
    assert found.propensities is not None
    np.testing.assert_array_equal(found.propensities, mixed.propensities)


def test_a_token_with_too_few_propensities_is_refused(model: OrderingModel) -> None:
    tried = drawn(popular(model, 4), ID).marked(Source.EXPLORATION)
    token = page_token(model, REQUEST, ID, tried)
    body = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))[5:]
    for missing in (4, 12, 16):
        with pytest.raises(InvalidField, match="is not a token of this service"):
            continued(model, asked_with(forged(body[:-missing])))


def test_a_list_that_is_too_long_for_a_token_ends_with_it() -> None:
    large = tiny_shop(2, 600).model()
    for whole in (popular(large, 600), drawn(popular(large, 600), ID).marked(Source.EXPLORATION)):
        token = page_token(large, REQUEST, "x" * 128, whole)
        assert PAGE_TOKEN_CHARACTERS_MAX - 40 < len(token) <= PAGE_TOKEN_CHARACTERS_MAX
        found = continued(large, asked_with(token)).ranked
        assert found.rows.tolist() == whole.rows[: found.rows.size].tolist()


def test_what_has_been_deleted_or_hidden_since_is_left_out(model: OrderingModel) -> None:
    rest = popular(model, 6)
    token = page_token(model, REQUEST, ID, rest)
    deleted, flagged, *others = model.items.vocabulary.names(rest.rows)
    now = extended(model, [LiveItem(item_id=deleted, deleted=True), LiveItem(item_id=flagged, flags=("odd",))])
    assert now.items.vocabulary.names(continued(now, asked_with(token)).ranked.rows) == others


def test_nothing_left_is_no_token(model: OrderingModel) -> None:
    assert page_token(model, REQUEST, ID, popular(model, 3).tail(3)) == ""


def test_the_longest_list_and_id_fit_the_limit_of_the_field() -> None:
    large = tiny_shop(2, 300).model()
    whole = popular(large, 300)
    assert whole.rows.size == 300
    assert len(page_token(large, REQUEST, "x" * 128, whole)) <= PAGE_TOKEN_CHARACTERS_MAX


def test_in_another_bundle_the_list_goes_on_without_what_is_no_longer_there(shop: TinyShop) -> None:
    before = shop.model()
    rest = popular(before, 10)
    kept = np.setdiff1d(np.arange(40), rest.rows[[2, 5]])[::-1]
    after = replace(
        shop,
        items=shop.items[kept],
        features=shop.features[kept],
        vectors=np.ascontiguousarray(shop.vectors[kept]),
        item_to_item=type(shop.item_to_item).empty(),
    ).model()
    found = continued(after, asked_with(page_token(before, REQUEST, ID, rest))).ranked
    expected = np.delete(rest.rows, [2, 5])
    assert after.items.vocabulary.names(found.rows) == before.items.vocabulary.names(expected)
    assert found.scores.tolist() == np.delete(rest.scores, [2, 5]).tolist()


@pytest.mark.parametrize(
    "changed",
    [
        {"user_id": "user-2"},
        {"placement": messages.PLACEMENT_TRENDING},
        {"filter": messages.Filter(in_stock_only=True)},
        {"context_item_ids": ["item-1"]},
    ],
)
def test_a_token_of_another_request_is_refused(model: OrderingModel, changed: dict[str, object]) -> None:
    token = page_token(model, REQUEST, ID, popular(model, 10))
    with pytest.raises(InvalidField, match="page_token: belongs to a request with other fields"):
        continued(model, asked_with(token, **changed))


@unhurried
@given(st.one_of(st.text(max_size=40), st.binary(max_size=60).map(forged), st.integers(0, 255)))
def test_what_is_no_token_is_refused(model: OrderingModel, token: str | int) -> None:
    good = page_token(model, REQUEST, ID, popular(model, 2))
    if isinstance(token, int):  # one character of a good one is another
        place = token % len(good)
        token = good[:place] + ("A" if good[place] != "A" else "B") + good[place + 1 :]
    with pytest.raises(InvalidField, match="page_token"):
        continued(model, asked_with(token))


def test_a_forged_token_with_a_source_that_does_not_exist_is_refused(model: OrderingModel) -> None:
    token = page_token(model, REQUEST, ID, popular(model, 2))
    body = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))[5:]
    assert_same(continued(model, asked_with(forged(body))).ranked, popular(model, 2))
    for bad in (body[:-1] + b"\xff", body[:-1], body[:8] + b"\xff" + body[9:], body[:9] + b"\xff" + body[10:]):
        with pytest.raises(InvalidField, match="is not a token of this service"):
            continued(model, asked_with(forged(bad)))
    with pytest.raises(InvalidField, match="is not a token of this service"):
        continued(model, asked_with(forged(body, version=1)))
