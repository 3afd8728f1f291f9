"""Loads and unloads models of a running Triton (explicit model control), over its HTTP interface on this machine.

The calls return when the model is loaded and warmed up, or has begun to go; other models keep answering. Knows nothing
of bundles.
"""

import http.client
import json

_LOAD_SECONDS = 300.0
_ANSWER_SECONDS = 10.0


class ModelControlError(Exception):
    """The server did not do as it was told; the message is its own."""


class ModelControl:
    """One server's models."""

    def __init__(self, address: str) -> None:
        """Ask the server whose HTTP interface is at `address` (host:port)."""
        self._address = address

    def load(self, model: str) -> None:
        """Load a model of the repository, with those it is made of; one that is loaded already is left alone.

        Raises:
            ModelControlError: it does not load, or the server does not answer.
        """
        if self._call("GET", f"models/{model}/ready")[0] != http.HTTPStatus.OK:
            self._command(model, "load")

    def unload(self, model: str) -> None:
        """Let a model, and those it is made of, finish what they have and go; harmless if it is not there.

        Raises:
            ModelControlError: the server does not answer.
        """
        self._command(model, "unload")

    def _command(self, model: str, verb: str) -> None:
        parameters = {"parameters": {"unload_dependents": True}} if verb == "unload" else {}
        status, answer = self._call("POST", f"repository/models/{model}/{verb}", json.dumps(parameters))
        if status != http.HTTPStatus.OK:
            raise ModelControlError(f"{verb} {model}: {answer.decode(errors='replace')}")

    def _call(self, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
        seconds = _LOAD_SECONDS if body else _ANSWER_SECONDS
        host, _, port = self._address.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=seconds)
        try:
            connection.request(method, f"/v2/{path}", body)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise ModelControlError(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()
