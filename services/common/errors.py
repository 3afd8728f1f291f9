"""What a service can refuse, and the one place where an exception becomes a gRPC status.

Choices: a servicer raises; `ErrorInterceptor` answers. Every status carries `google.rpc.ErrorInfo` (AIP-193), the
refusal of a field also `google.rpc.BadRequest`. An exception that is not in the table is a bug: the caller gets a
reference, the log the traceback under that reference. Knows nothing of any service.
"""

import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.protobuf import any_pb2, duration_pb2, message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

logger = logging.getLogger(__name__)

ERROR_DOMAIN = "aisle"
_RETRY_DELAY = duration_pb2.Duration(nanos=200_000_000)


class AisleError(Exception):
    """A refusal that the caller is told about, in the words of the exception."""

    def details(self) -> list[message.Message]:
        """Machine-readable parts of the answer beside `ErrorInfo`."""
        return []


class _FieldError(AisleError):
    def __init__(self, field: str, description: str) -> None:
        """Args: field: path within the request, such as `filter.include_brands[2]`; description: what is wrong."""
        super().__init__(f"{field}: {description}")
        self.field = field
        self.description = description

    def move_below(self, prefix: str) -> None:
        """The field turns out to be one of a message within the request, whose path starts with `prefix`."""
        self.field = f"{prefix}{self.field}"
        self.args = (f"{self.field}: {self.description}",)

    def details(self) -> list[message.Message]:
        violation = error_details_pb2.BadRequest.FieldViolation(field=self.field, description=self.description)
        return [error_details_pb2.BadRequest(field_violations=[violation])]


class InvalidField(_FieldError):  # noqa: N818 - reads as the reason it is sent as
    """A field of the request has a value it must not have; sending it again as it is cannot help."""


class Undecodable(AisleError):  # noqa: N818
    """What arrived is not an encoded request of the method: bytes are damaged, or a string is not UTF-8."""


class NotServed(_FieldError):  # noqa: N818
    """A field (or a whole method) that this server does not implement was used; it is refused, never ignored."""

    def __init__(self, field: str) -> None:
        """Args: field: path within the request."""
        super().__init__(field, "is not served by this version")


class BundleMismatch(AisleError):  # noqa: N818
    """Caller and server hold different bundles, whose vectors and rows must never be mixed."""

    def __init__(self, requested: str, served: str) -> None:
        """Args: requested: bundle version of the caller; served: bundle version of this server."""
        super().__init__(f"bundle_version: {requested!r} was asked for, {served!r} is served")


class Unauthenticated(AisleError):  # noqa: N818
    """The caller has not shown who it is."""


class PermissionDenied(AisleError):  # noqa: N818
    """The caller may not do this; it says nothing of whether what was asked for exists."""


class Unavailable(AisleError):  # noqa: N818
    """The service cannot answer now; the same request may succeed later."""


class Overloaded(AisleError):  # noqa: N818
    """More calls than can be answered in time; this one has been turned away unread."""

    def __init__(self) -> None:
        """Say when to come back."""
        super().__init__("too many calls; try again later, or another server")

    def details(self) -> list[message.Message]:
        """When to come back."""
        return [error_details_pb2.RetryInfo(retry_delay=_RETRY_DELAY)]


STATUS_CODES: Mapping[type[BaseException], grpc.StatusCode] = {
    InvalidField: grpc.StatusCode.INVALID_ARGUMENT,
    Undecodable: grpc.StatusCode.INVALID_ARGUMENT,
    NotServed: grpc.StatusCode.UNIMPLEMENTED,
    BundleMismatch: grpc.StatusCode.FAILED_PRECONDITION,
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    TimeoutError: grpc.StatusCode.DEADLINE_EXCEEDED,
    NotImplementedError: grpc.StatusCode.UNIMPLEMENTED,  # what a generated servicer raises
}
"""The only mapping from exception to status; looked up along the class hierarchy, nearest class first."""


_TEXTS: Mapping[type[BaseException], str] = {
    TimeoutError: "the time allowed for the request is over",
    NotImplementedError: "this method is not served by this version",
}
# What is said instead of the text of an exception that is not ours.


def status_of(error: Exception) -> status_pb2.Status:
    """The answer to a request that raised `error`; logs an error that is not in `STATUS_CODES` with its traceback."""
    for kind in type(error).__mro__:
        if kind in STATUS_CODES:
            if isinstance(error, AisleError):
                return _status(STATUS_CODES[kind], str(error), kind.__name__, error.details())
            return _status(STATUS_CODES[kind], _TEXTS[kind], kind.__name__, [])
    reference = uuid.uuid4().hex
    # The text of an unexpected exception may name files, hosts or shoppers: it stays in this process's log.
    logger.error("unexpected error", exc_info=error, extra={"reference": reference})
    details = [error_details_pb2.RequestInfo(request_id=reference)]
    return _status(grpc.StatusCode.INTERNAL, f"internal error, reference {reference}", "Internal", details)


def _status(code: grpc.StatusCode, text: str, reason: str, details: list[message.Message]) -> status_pb2.Status:
    packed = []
    for detail in [error_details_pb2.ErrorInfo(reason=_upper_snake(reason), domain=ERROR_DOMAIN), *details]:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    return status_pb2.Status(code=code.value[0], message=text, details=packed)


def _upper_snake(name: str) -> str:
    """`InvalidField` → `INVALID_FIELD`, the spelling that AIP-193 asks of a reason."""
    return "".join(f"_{letter}" if letter.isupper() else letter for letter in name).lstrip("_").upper()


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: Exception) -> NoReturn:
    """Ends a call of any kind with `status_of(error)`."""
    await _abort(context, status_of(error))


async def _abort(context: grpc.aio.ServicerContext[Any, Any], answer: status_pb2.Status) -> NoReturn:
    status = rpc_status.to_status(answer)
    await context.abort(status.code, status.details, status.trailing_metadata)
    raise AssertionError("abort returned")


class ErrorInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg] # generic in the stubs only
    """Answers with `status_of` what a unary handler raises; other kinds of handler pass through."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wraps the handler of a call, if it is one of ours."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        # Decoded in `answer`: what a deserializer raises reaches no interceptor, and gRPC answers it with UNKNOWN.
        return grpc.unary_unary_rpc_method_handler(
            _answering(handler.unary_unary, handler.request_deserializer), None, handler.response_serializer
        )


def _answering(
    behavior: Callable[[Any, Any], Awaitable[Any]], decode: Callable[[bytes], Any]
) -> Callable[[Any, Any], Awaitable[Any]]:
    async def answer(raw: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        try:
            return await behavior(_decoded(decode, raw), context)
        except grpc.aio.AbortError:  # the handler has already chosen its status
            raise
        except Exception as error:
            status = status_of(error)
        # Outside the except block: the error is answered or logged, not chained to the abort as well.
        return await _abort(context, status)

    return answer


def _decoded(decode: Callable[[bytes], Any], raw: bytes) -> Any:
    try:
        return decode(raw)
    except message.DecodeError as error:
        raise Undecodable(f"{error}: bytes are damaged, or a string is not UTF-8") from None
