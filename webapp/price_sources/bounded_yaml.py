"""YAML from strangers, event by event: refused before it is too deep for the reader, unfolds, or is too much to hold.

PyYAML's C reader goes down into a document without any limit, so that a file of nothing but brackets ends the whole process. Its events
do not nest, and whatever a file holds they come one by one.
"""

from collections.abc import Iterator
from typing import Any

import yaml

from webapp.domain.shared.errors import FieldError, Malformed

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MAX_DEPTH = 12
MAX_NODES = 1_000_000  # A second or two, and about as much as the largest file of a real catalogue holds.


def events(text: str | bytes) -> Iterator[yaml.Event]:
    """The events of one document. Raises `Malformed` naming the line, for what is no YAML too."""
    depth = nodes = 0
    try:
        for event in yaml.parse(text, Loader=Loader):
            if isinstance(event, yaml.NodeEvent):
                nodes += 1
                _check_node(event, nodes)
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    raise malformed_at(event.start_mark, "nested too deep")
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            yield event
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or "unreadable"
        raise malformed_at(getattr(error, "problem_mark", None), f"the file is neither YAML nor JSON: {problem}") from None


def _check_node(event: yaml.NodeEvent, nodes: int) -> None:
    if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
        raise malformed_at(event.start_mark, "anchors and aliases are not allowed here: write the values out")
    if nodes > MAX_NODES:
        raise malformed_at(event.start_mark, f"the file holds more than {MAX_NODES:,} values")


def malformed_at(mark: Any, message: str) -> Malformed:
    """What is wrong, with its line."""
    said = f"line {mark.line + 1}: {message}" if mark is not None else message
    return Malformed(f"{said[0].upper()}{said[1:]}.", [FieldError("file", said)])


def line_number(event: yaml.Event) -> int:
    """Where an event stands, counted from 1."""
    return event.start_mark.line + 1 if event.start_mark else 1
