"""Who may call: API keys, each of which opens one tenant's data.

Choices: the key comes as metadata `x-api-key` and is looked at before the request is parsed; the tenant afterwards and
before the service sees it. What is refused, and whether the tenant exists, has no influence on the words. Health needs
no key, because probes have none; reflection needs one and is of no tenant. A stream of requests would need its tenant
checked message by message: a method that has one is refused until somebody writes that. Keys are read again when their
file changes. Knows nothing of TLS, and neither key nor hash is ever logged.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

from services.common.errors import AisleError, PermissionDenied, Unauthenticated, abort
from services.common.keys import KEY_HEADER, ApiKey, KeyFileError, find_key, read_keys
from services.common.limits import DEFAULT_TENANT
from services.common.reloading import Reloaded
from services.common.settings import ServiceSettings, SettingsError

logger = logging.getLogger(__name__)

_WITHOUT_KEY = frozenset({health.SERVICE_NAME})
_WITHOUT_TENANT = frozenset({reflection.SERVICE_NAME})


def guards(settings: ServiceSettings) -> list[grpc.aio.ServerInterceptor]:  # type: ignore[type-arg] # in the stubs only
    """The interceptors that the settings ask for, to stand inside of `ErrorInterceptor`.

    Raises:
        SettingsError: the file of keys cannot be read; names it and the variable.
    """
    if (path := settings.api_keys) is None:
        return []
    if settings.tls_certificate is None:
        logger.warning("keys are asked for without TLS: something in front of this server has to encrypt")
    return [KeyInterceptor(Reloaded([path], lambda: _read(path)).current)]


class KeyInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg] # generic in the stubs only
    """Lets a call pass that has a key, and a request that is about the key's tenant."""

    def __init__(self, keys: Callable[[], Sequence[ApiKey]]) -> None:
        """Args: keys: those that are valid now; asked at every call."""
        self._keys = keys

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The handler of the call, guarded, or one that refuses in its place."""
        handler = await continuation(handler_call_details)
        service = handler_call_details.method.strip("/").partition("/")[0]
        if handler is None or service in _WITHOUT_KEY:
            return handler
        presented = [value for name, value in handler_call_details.invocation_metadata if name == KEY_HEADER]
        key = find_key(presented[0], self._keys()) if len(presented) == 1 else None
        if key is None:
            return _refusing(handler, Unauthenticated(f"{KEY_HEADER}: missing or not valid"))
        if service in _WITHOUT_TENANT:
            return handler
        if handler.unary_unary is None:
            return _refusing(handler, PermissionDenied("this method cannot be called with a key yet"))
        return grpc.unary_unary_rpc_method_handler(
            _of_tenant(handler.unary_unary, key.tenant), handler.request_deserializer, handler.response_serializer
        )


def _of_tenant(behavior: Callable[[Any, Any], Awaitable[Any]], tenant: str) -> Callable[[Any, Any], Awaitable[Any]]:
    async def answer(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        if (request.tenant or DEFAULT_TENANT) != tenant:
            raise PermissionDenied("tenant: not the one that the key is for")
        return await behavior(request, context)

    return answer


def _refusing(handler: Any, error: AisleError) -> Any:
    """A handler of the same kind that answers with `error` and leaves the request unparsed."""

    async def refuse(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:  # noqa: ARG001
        await abort(context, error)

    makers = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    unparsed = bytes  # hands on what arrived
    return makers[handler.request_streaming, handler.response_streaming](refuse, request_deserializer=unparsed)


def _read(path: Path) -> tuple[ApiKey, ...]:
    try:
        return read_keys(path)
    except KeyFileError as error:
        raise SettingsError(f"AISLE_API_KEYS: {error}") from None
