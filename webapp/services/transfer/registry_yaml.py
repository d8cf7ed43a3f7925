"""The registry as a file: strict YAML or JSON with the line of every entry, and a serialization that parses to the same document.

The YAML reader also reads JSON, so lines are known for both. Anchors, tags, floats and unquoted decimals are rejected: a price must not
become a float, and a few lines must not expand into millions.
"""

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml
from yaml.resolver import Resolver

from webapp.domain.shared.errors import Malformed
from webapp.price_sources.bounded_yaml import events, line_number, malformed_at

MAX_BYTES = 10_000_000
Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_FLOAT, _INT, _BOOL, _NULL, _STR = (f"tag:yaml.org,2002:{name}" for name in ("float", "int", "bool", "null", "str"))
_resolver = Resolver()
_BOOLEANS = {"true": True, "false": False}


class ParsedRegistryFile(NamedTuple):
    """The document, the line of each entry by path, such as `models[3]`, and the problems detected so far."""

    document: dict[str, Any]
    lines: dict[str, int]
    problems: tuple[str, ...] = ()


def parse_registry(text: str) -> ParsedRegistryFile:
    """Parse a registry file. Raises `Malformed` with the line."""
    check_size(text)
    builder = _DocumentBuilder()
    for event in events(text):
        builder.handle_event(event)
    if not isinstance(builder.document, dict):
        raise Malformed("The file must be an object with providers and models.")
    return ParsedRegistryFile(builder.document, builder.lines)


def check_size(text: str) -> None:
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise Malformed(f"The file is larger than {MAX_BYTES // 1_000_000} MB.")


@dataclass(slots=True)
class _OpenCollection:
    """A list or object that is not complete yet. `name` is the key that waits for its value."""

    path: str
    value: list[Any] | dict[str, Any]
    name: str | None = None


class _DocumentBuilder:
    """Builds a document from events without recursion, so that the nesting of a file cannot exhaust the stack."""

    def __init__(self) -> None:
        self.document: Any = None
        self.lines: dict[str, int] = {}
        self._open: list[_OpenCollection] = []
        self._documents = 0

    def handle_event(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise malformed_at(event.start_mark, "a second document begins here: one file is one catalogue")
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()
        elif isinstance(event, yaml.CollectionStartEvent):
            value: list[Any] | dict[str, Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
            self._open.append(_OpenCollection(self._add_value(event, value), value))
        elif isinstance(event, yaml.ScalarEvent):
            self._add_scalar(event)

    def _add_scalar(self, event: yaml.ScalarEvent) -> None:
        parent = self._open[-1] if self._open else None
        if parent is not None and isinstance(parent.value, dict) and parent.name is None:
            if _tag_of(event) != _STR:
                raise malformed_at(event.start_mark, "a name must be text")
            if event.value in parent.value:
                raise malformed_at(event.start_mark, f"{event.value[:60]} is given twice")
            parent.name = event.value
        else:
            self._add_value(event, _scalar_value(event))

    def _add_value(self, event: yaml.Event, value: Any) -> str:
        """Add a value to the open collection, and return its path."""
        if not self._open:
            self.document, self.lines[""] = value, line_number(event)
            return ""
        parent = self._open[-1]
        if isinstance(parent.value, list):
            path = f"{parent.path}[{len(parent.value)}]"
            parent.value.append(value)
        elif parent.name is None:
            raise malformed_at(event.start_mark, "a name must be text")
        else:
            path = f"{parent.path}.{parent.name}" if parent.path else parent.name
            parent.value[parent.name], parent.name = value, None
        self.lines[path] = line_number(event)
        return path


def _tag_of(event: yaml.ScalarEvent) -> str:
    if event.tag is not None and event.tag != "!":
        return str(event.tag)
    return str(_resolver.resolve(yaml.ScalarNode, event.value, event.implicit))  # type: ignore[no-untyped-call] # PyYAML has no annotation here.


def _scalar_value(event: yaml.ScalarEvent) -> Any:
    text, tag = str(event.value), _tag_of(event)
    if tag == _NULL:
        return None
    if tag == _BOOL:
        if text.lower() not in _BOOLEANS:
            raise malformed_at(event.start_mark, f"{text} could be read as true or false: write it in quotes if it is text")
        return _BOOLEANS[text.lower()]
    if tag == _INT and text.lstrip("-").isdigit() and text.isascii() and len(text) <= 17:
        return int(text)
    if tag in (_FLOAT, _INT):
        raise malformed_at(
            event.start_mark, f"{text[:40]} must be in quotes: amounts are exact decimals, and whole numbers are written plainly"
        )
    return text


def serialize(document: dict[str, Any], *, as_json: bool) -> str:
    """Return the text of a registry file. The same registry always gives the same text."""
    if as_json:
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    dumped: str = yaml.dump(document, Dumper=_AliasFreeDumper, sort_keys=False, allow_unicode=True, width=140)
    return dumped


class _AliasFreeDumper(Dumper):  # type: ignore[misc, valid-type] # The C class or the Python class, depending on the installation.
    """A dumper that writes repeated values in full instead of anchors."""

    def ignore_aliases(self, data: object) -> bool:
        return True
