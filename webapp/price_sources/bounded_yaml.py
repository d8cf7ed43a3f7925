"""Bounded YAML reader for untrusted files: a stream of events with limits on nesting and size, and without aliases.

PyYAML's C reader recurses without a limit, so a file of nothing but brackets crashes the whole process. Events do not nest: they arrive one
by one, whatever the file contains.
"""

from collections.abc import Iterator
from typing import Any

import yaml

from webapp.domain.shared.errors import FieldError, Malformed

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MAX_DEPTH = 12
MAX_NODES = 1_000_000  # Takes a second or two to read. The largest real catalog has about as many nodes.


def events(text: str | bytes) -> Iterator[yaml.Event]:
    """Yield the events of one document. Raises `Malformed` with the line for invalid YAML and exceeded limits."""
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
    """Return a `Malformed` error that names the line of `mark`."""
    detail = f"line {mark.line + 1}: {message}" if mark is not None else message
    return Malformed(f"{detail[0].upper()}{detail[1:]}.", [FieldError("file", detail)])


def line_number(event: yaml.Event) -> int:
    """Return the line of an event, counted from 1."""
    return event.start_mark.line + 1 if event.start_mark else 1
