"""What callers are told when something is wrong."""

import logging
from typing import TypeVar

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from services.common.errors import (
    BundleMismatch,
    InvalidField,
    NotServed,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
    status_of,
)

Detail = TypeVar("Detail", bound=Message)


def detail(status: Status, kind: type[Detail]) -> Detail:
    """The only detail of that kind."""
    (found,) = [packed for packed in status.details if packed.Is(kind.DESCRIPTOR)]
    message = kind()
    found.Unpack(message)
    return message


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (InvalidField("page_size", "must be 0 to 100, is 101"), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
        (NotServed("promotions"), grpc.StatusCode.UNIMPLEMENTED, "NOT_SERVED"),
        (BundleMismatch("a", "b"), grpc.StatusCode.FAILED_PRECONDITION, "BUNDLE_MISMATCH"),
        (Unauthenticated("x-api-key: missing"), grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"),
        (PermissionDenied("tenant: another"), grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"),
        (Unavailable("no index yet"), grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE"),
        (NotImplementedError(), grpc.StatusCode.UNIMPLEMENTED, "NOT_IMPLEMENTED_ERROR"),
        (TimeoutError(), grpc.StatusCode.DEADLINE_EXCEEDED, "TIMEOUT_ERROR"),
    ],
)
def test_a_named_error_has_its_code_its_reason_and_a_sentence(
    error: Exception, code: grpc.StatusCode, reason: str
) -> None:
    status = status_of(error)
    assert status.code == code.value[0]
    assert detail(status, error_details_pb2.ErrorInfo).reason == reason
    assert status.message


def test_a_field_error_says_which_field_and_why_in_machine_readable_form() -> None:
    violations = detail(status_of(InvalidField("filter.x[1]", "is bad")), error_details_pb2.BadRequest).field_violations
    assert [(violation.field, violation.description) for violation in violations] == [("filter.x[1]", "is bad")]


def test_a_subclass_of_a_named_error_is_answered_like_its_parent() -> None:
    class InvalidPrice(InvalidField):
        pass

    status = status_of(InvalidPrice("price", "is bad"))
    assert status.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert detail(status, error_details_pb2.BadRequest).field_violations[0].field == "price"


def test_an_unexpected_error_is_logged_under_a_reference_and_its_text_stays_inside(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        status = status_of(KeyError("/secret/path"))
    assert status.code == grpc.StatusCode.INTERNAL.value[0]
    assert "secret" not in str(status)
    reference = detail(status, error_details_pb2.RequestInfo).request_id
    assert reference in status.message
    (record,) = caplog.records
    assert record.__dict__["reference"] == reference
    assert record.exc_info is not None
    assert "/secret/path" in str(record.exc_info[1])
