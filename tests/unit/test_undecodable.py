"""Bytes that are no request: refused like any other fault of the caller's, before a servicer sees them."""

from typing import Any, cast

import grpc
import grpc.aio
import pytest
from aisle.v1.recommendation_service_pb2 import RecommendRequest, RecommendResponse

from services.common.errors import ErrorInterceptor

WHOLE = RecommendRequest(user_id="anna", page_size=7).SerializeToString()
BROKEN = {
    "cut off": WHOLE[:-1],
    "a length beyond the end": b"\x1a\x7fanna",
    "not UTF-8": b"\x1a\x02\xff\xfe",
    "an end of nothing": b"\x0c",
    "no field at all": b"\x07",
}


class Refused(Exception):  # noqa: N818
    """What `abort` ends a call with."""


class FakeContext:
    """Keeps what a call was refused with."""

    async def abort(self, code: grpc.StatusCode, details: str, _: Any) -> None:
        raise Refused(code, details)


async def asked(raw: bytes) -> Any:
    """What arrives at a servicer behind the interceptor when a server hands over `raw`."""

    async def servicer(request: RecommendRequest, context: Any) -> Any:
        return request

    async def route(details: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(
            servicer, RecommendRequest.FromString, RecommendResponse.SerializeToString
        )

    handler = await ErrorInterceptor().intercept_service(route, cast(grpc.HandlerCallDetails, None))
    request = handler.request_deserializer(raw) if handler.request_deserializer else raw
    return await handler.unary_unary(request, FakeContext())


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN)
async def test_bytes_that_are_no_request_are_the_callers_fault_and_name_what_was_awaited(raw: bytes) -> None:
    with pytest.raises(Refused) as caught:
        await asked(raw)
    code, details = caught.value.args
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "aisle.v1.RecommendRequest" in details


async def test_a_whole_request_arrives_as_it_was_sent() -> None:
    assert await asked(WHOLE) == RecommendRequest(user_id="anna", page_size=7)


async def test_fields_of_a_later_version_are_no_fault() -> None:
    assert (await asked(WHOLE + b"\xfa\x7f\x03new")).user_id == "anna"
