"""Whom a request is about: the ids it names, and what they are called elsewhere.

Choice: a request may name a known shopper, a visitor or both; whatever bears either id, as user or as visitor, is
theirs.
Knows nothing of where anything is kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from features.pseudonyms import pseudonym
from features.shopper_digest import Digest
from services.common.errors import InvalidField


class _Request(Protocol):
    @property
    def user_id(self) -> str: ...
    @property
    def visitor_id(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Shopper:
    """One person."""

    user_id: str
    """Empty where only a visitor was named."""
    ids: tuple[str, ...]
    """One id, or two."""
    ids_of_names: Mapping[str, str]
    """What files may call the shopper, ids and pseudonyms, and whose id that is."""
    digests: tuple[str, ...]
    """What stands for the ids in the audit log and in Valkey's sets; in the order of `ids`."""
    digests_of_names: frozenset[str]
    """The same of all names."""

    @property
    def names(self) -> frozenset[str]:
        """What files may call the shopper."""
        return frozenset(self.ids_of_names)

    def id_of(self, name: str) -> str:
        """The id behind a pseudonym of this shopper; anything else is as it was."""
        return self.ids_of_names.get(name, name)


@dataclass(frozen=True, slots=True)
class Shoppers:
    """Makes shoppers of requests."""

    digest: Digest
    """From features.shopper_digest.open_digest."""
    pseudonym_key: bytes | None = None
    """The key by which files hide ids; None where they show them."""

    def of(self, request: _Request) -> Shopper:
        """The shopper of a request.

        Raises:
            InvalidField: it names none.
        """
        ids = tuple(dict.fromkeys(name for name in (request.user_id, request.visitor_id) if name))
        if not ids:
            raise InvalidField("user_id", "one of user_id and visitor_id is required")
        names = {name: name for name in ids}
        if self.pseudonym_key is not None:
            names |= {pseudonym(self.pseudonym_key, name): name for name in ids}
        digests = frozenset(map(self.digest, names))
        return Shopper(request.user_id, ids, names, tuple(map(self.digest, ids)), digests)
