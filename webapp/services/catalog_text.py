"""The catalogue as a file: strict YAML or JSON with the line of every entry, and the text that reads back as the same.

JSON is read by the same reader: it is YAML too, and so its lines are known as well. Anchors, tags, doubles and
unquoted decimals are refused: a price must not go through a float, and a file of a few lines must not unfold into millions.
"""

import json
from collections.abc import Hashable
from typing import Any, NamedTuple

import yaml

from webapp.domain.errors import FieldError, Malformed

MOST_BYTES = 10_000_000
DEEPEST = 12
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_FLOAT, _INT, _BOOL, _NULL = (f"tag:yaml.org,2002:{name}" for name in ("float", "int", "bool", "null"))
_WORDS = {"true": True, "false": False}


class Read(NamedTuple):
    """The document, and the line of each of its entries by path, such as `models[3]`; `problems` are what is wrong already."""

    document: dict[str, Any]
    lines: dict[str, int]
    problems: tuple[str, ...] = ()


def read(text: str) -> Read:
    """Raises `Malformed` that names the line."""
    check_size(text)
    try:
        node = yaml.compose(text, Loader=Loader)
        _refuse_aliases(text)
    except yaml.YAMLError as error:
        raise _at(
            getattr(error, "problem_mark", None), f"the file is neither YAML nor JSON: {getattr(error, 'problem', None) or 'unreadable'}"
        ) from None
    except RecursionError:
        raise Malformed("The file is nested too deep.") from None
    if not isinstance(node, yaml.MappingNode):
        raise Malformed("The file must be an object with providers and models.")
    lines: dict[str, int] = {}
    document: dict[str, Any] = _value(node, "", lines, DEEPEST)
    return Read(document, lines)


def check_size(text: str) -> None:
    if len(text.encode("utf-8", "replace")) > MOST_BYTES:
        raise Malformed(f"The file is larger than {MOST_BYTES // 1_000_000} MB.")


def _refuse_aliases(text: str) -> None:
    for event in yaml.parse(text, Loader=Loader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise _at(event.start_mark, "anchors and aliases are not allowed here: write the values out")


def _value(node: yaml.Node, path: str, lines: dict[str, int], depth: int) -> Any:  # noqa: ANN401 # JSON values
    lines[path] = node.start_mark.line + 1
    if depth <= 0:
        raise _at(node.start_mark, "nested too deep")
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, lines, depth)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, f"{path}[{number}]", lines, depth - 1) for number, item in enumerate(node.value)]
    return _scalar(node)


def _mapping(node: yaml.MappingNode, path: str, lines: dict[str, int], depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in node.value:
        name: Hashable = key.value if isinstance(key, yaml.ScalarNode) else None
        if not isinstance(name, str):
            raise _at(key.start_mark, "a name must be text")
        if name in found:
            raise _at(key.start_mark, f"{name[:60]} is given twice")
        found[name] = _value(value, f"{path}.{name}" if path else name, lines, depth - 1)
    return found


def _scalar(node: yaml.Node) -> Any:  # noqa: ANN401 # text, a whole number, true, false or None
    text = str(node.value)
    if node.tag == _NULL:
        return None
    if node.tag == _BOOL:
        if text.lower() not in _WORDS:
            raise _at(node.start_mark, f"{text} could be read as true or false: write it in quotes if it is text")
        return _WORDS[text.lower()]
    if node.tag == _INT and text.lstrip("-").isdigit() and text.isascii() and len(text) <= 17:
        return int(text)
    if node.tag in (_FLOAT, _INT):
        raise _at(node.start_mark, f"{text[:40]} must be in quotes: amounts are exact decimals, and whole numbers are written plainly")
    return text


def _at(mark: Any, message: str) -> Malformed:  # noqa: ANN401 # a mark of the reader, or None
    said = f"line {mark.line + 1}: {message}" if mark is not None else message
    return Malformed(f"{said[0].upper()}{said[1:]}.", [FieldError("file", said)])


def written(document: dict[str, Any], *, as_json: bool) -> str:
    """The text of a catalogue; the same catalogue always gives the same text."""
    if as_json:
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    dumped: str = yaml.dump(document, Dumper=_Quoting, sort_keys=False, allow_unicode=True, width=140)
    return dumped


class _Quoting(Dumper):  # type: ignore[misc, valid-type] # the C or the Python one, whichever is there
    """Writes no anchors: what occurs twice is written twice."""

    def ignore_aliases(self, data: object) -> bool:
        return True
