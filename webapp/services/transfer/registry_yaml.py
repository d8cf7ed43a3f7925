"""The catalogue as a file: strict YAML or JSON with the line of every entry, and the text that reads back as the same.

JSON is read by the same reader: it is YAML too, and so its lines are known as well. Anchors, tags, doubles and
unquoted decimals are refused: a price must not go through a float, and a file of a few lines must not unfold into millions.
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
    """The document, and the line of each of its entries by path, such as `models[3]`; `problems` are what is wrong already."""

    document: dict[str, Any]
    lines: dict[str, int]
    problems: tuple[str, ...] = ()


def parse_registry(text: str) -> ParsedRegistryFile:
    """Raises `Malformed` that names the line."""
    check_size(text)
    building = _DocumentBuilder()
    for event in events(text):
        building.handle_event(event)
    if not isinstance(building.document, dict):
        raise Malformed("The file must be an object with providers and models.")
    return ParsedRegistryFile(building.document, building.lines)


def check_size(text: str) -> None:
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise Malformed(f"The file is larger than {MAX_BYTES // 1_000_000} MB.")


@dataclass(slots=True)
class _OpenCollection:
    """A list or an object that has not ended yet. `name` is the one that waits for its value."""

    path: str
    value: list[Any] | dict[str, Any]
    name: str | None = None


class _DocumentBuilder:
    """Makes a document out of events, without going down into it: how deep a file is must not be how deep the program goes."""

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
        within = self._open[-1] if self._open else None
        if within is not None and isinstance(within.value, dict) and within.name is None:
            if _tag_of(event) != _STR:
                raise malformed_at(event.start_mark, "a name must be text")
            if event.value in within.value:
                raise malformed_at(event.start_mark, f"{event.value[:60]} is given twice")
            within.name = event.value
        else:
            self._add_value(event, _scalar_value(event))

    def _add_value(self, event: yaml.Event, value: Any) -> str:
        """Puts a value where it belongs, and gives its path."""
        if not self._open:
            self.document, self.lines[""] = value, line_number(event)
            return ""
        within = self._open[-1]
        if isinstance(within.value, list):
            path = f"{within.path}[{len(within.value)}]"
            within.value.append(value)
        elif within.name is None:
            raise malformed_at(event.start_mark, "a name must be text")
        else:
            path = f"{within.path}.{within.name}" if within.path else within.name
            within.value[within.name], within.name = value, None
        self.lines[path] = line_number(event)
        return path


def _tag_of(event: yaml.ScalarEvent) -> str:
    if event.tag is not None and event.tag != "!":
        return str(event.tag)
    return str(_resolver.resolve(yaml.ScalarNode, event.value, event.implicit))  # type: ignore[no-untyped-call] # of PyYAML


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
    """The text of a catalogue; the same catalogue always gives the same text."""
    if as_json:
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    dumped: str = yaml.dump(document, Dumper=_AliasFreeDumper, sort_keys=False, allow_unicode=True, width=140)
    return dumped


class _AliasFreeDumper(Dumper):  # type: ignore[misc, valid-type] # the C or the Python one, whichever is there
    """Writes no anchors: what occurs twice is written twice."""

    def ignore_aliases(self, data: object) -> bool:
        return True
