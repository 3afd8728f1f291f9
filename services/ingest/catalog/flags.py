"""Harmful or sensitive text, noticed on the way in.

Choices:
- A rule is a regular expression over some of an item's fields, read without regard to case, after Unicode's
  compatibility forms are undone (full-width letters are letters) and characters that nobody sees are gone.
- "sensitive" keeps the item and names the rule in its `flags`: it is then shown only where a filter allows it; "reject"
  keeps it out. A list for a supermarket is not one for a bookshop, hence a file; without one, a short list of what
  large shops restrict.
- Who judges is an interface: a model can take the rules' place, or stand beside them (`AllOf`).

Knows nothing of how items are stored.
"""

import re
import tomllib
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Protocol, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from features.live_items import LiveItem
from services.common.settings import NamedFile, SettingsError

TextField: TypeAlias = Literal["title", "description", "category_path", "brand", "attributes"]
"""As the protos call it."""

DEFAULT_RULES = NamedFile("the default list", Path(__file__).with_name("default_rules.toml"))

_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")


class Refusal(NamedTuple):
    """Why an item is kept out."""

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a classifier says of one item."""

    flags: tuple[str, ...] = ()
    """Why it counts as sensitive; empty if it does not."""
    refusal: Refusal | None = None
    """Set where it must not be in the catalogue at all."""


class TextClassifier(Protocol):
    """Who judges items by their text."""

    async def judge(self, items: Sequence[LiveItem]) -> list[Verdict]:
        """One verdict for each item, in order. Never raises: one that cannot tell flags the items as `unchecked`."""
        ...


class Rule(BaseModel):
    """One line of the list."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=64)]
    pattern: Annotated[str, Field(min_length=1)]
    fields: Annotated[tuple[TextField, ...], Field(min_length=1)] = ("title", "description", "category_path", "brand")
    action: Literal["sensitive", "reject"] = "sensitive"


class RuleClassifier:
    """`TextClassifier` by a list of rules."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        """Compile them.

        Raises:
            ValueError: names the rule whose pattern is no regular expression.
        """
        self._rules = [(rule, _compiled(rule)) for rule in rules]

    async def judge(self, items: Sequence[LiveItem]) -> list[Verdict]:
        """See `TextClassifier.judge`."""
        return [self._verdict(item) for item in items]

    def _verdict(self, item: LiveItem) -> Verdict:
        texts = {path: _plain(text) for path, text in _texts(item)}
        flags = []
        for rule, pattern in self._rules:
            path = next(
                (path for path, text in texts.items() if _field(path) in rule.fields and pattern.search(text)), ""
            )
            if path and rule.action == "reject":
                return Verdict(refusal=Refusal(path, f"is not for sale here (rule {rule.name!r})"))
            if path:
                flags.append(rule.name)
        return Verdict(flags=tuple(dict.fromkeys(flags)))


class AllOf:
    """`TextClassifier` of several: whatever one of them says counts."""

    def __init__(self, *classifiers: TextClassifier) -> None:
        """Args: classifiers: asked one after another."""
        self._classifiers = classifiers

    async def judge(self, items: Sequence[LiveItem]) -> list[Verdict]:
        """See `TextClassifier.judge`."""
        verdicts = [Verdict()] * len(items)
        for classifier in self._classifiers:
            verdicts = [_both(*pair) for pair in zip(verdicts, await classifier.judge(items), strict=True)]
        return verdicts


def load_rules(file: NamedFile | None) -> RuleClassifier:
    """The rules of a TOML file of `[[rule]]` tables; those of the default list without one.

    Raises:
        SettingsError: the file cannot be read or says something else; names the file and the rule.
    """
    variable, path = file or DEFAULT_RULES
    try:
        with path.open("rb") as opened:
            found = tomllib.load(opened)
        return RuleClassifier(_rules(found))
    except OSError as error:
        raise SettingsError(f"{variable}: {path} cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise SettingsError(f"{variable}: {path}: {error}") from None


def _rules(found: dict[str, object]) -> list[Rule]:
    tables = found.get("rule", [])
    if found.keys() - {"rule"} or not isinstance(tables, list):
        raise ValueError("holds something else than [[rule]] tables")
    return [_rule(number, table) for number, table in enumerate(tables, start=1)]


def _rule(number: int, table: object) -> Rule:
    name = table.get("name") if isinstance(table, dict) else None
    try:
        return Rule.model_validate(table)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise ValueError(f"rule {name or number!r}: {faults}") from None


def _compiled(rule: Rule) -> re.Pattern[str]:
    try:
        return re.compile(rule.pattern, re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"rule {rule.name!r}: pattern: {error}") from None


def _texts(item: LiveItem) -> Iterator[tuple[str, str]]:
    """Path within the proto's Item, and text."""
    yield "title", item.title
    yield "description", item.description
    yield "brand", item.brand or ""
    for position, name in enumerate(item.category):
        yield f"category_path[{position}]", name
    if item.attributes:
        yield "attributes", "\n".join(f"{name}: {value}" for name, value in item.attributes)


def _field(path: str) -> str:
    return path.partition("[")[0]


def _plain(text: str) -> str:
    return _UNSEEN.sub("", unicodedata.normalize("NFKC", text))


def _both(one: Verdict, other: Verdict) -> Verdict:
    return Verdict(tuple(dict.fromkeys(one.flags + other.flags)), one.refusal or other.refusal)
