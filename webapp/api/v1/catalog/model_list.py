"""Lists: filtering, sorting and paging of models in memory. A cursor names the last row seen, so that no row is skipped or repeated."""

import base64
import binascii
import json
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from webapp.api.v1.core.encoded_registry import EncodedRegistry, SortKey
from webapp.api.v1.core.parameters import BOOLEAN, CURSOR, LIMIT, SEARCH, TEXT, Parameter, choice_parameter, parse_boolean, parse_text
from webapp.domain.catalog.entities import MODEL_TYPES, ModelInfo
from webapp.domain.pricing.pricing import PRICE_STATES
from webapp.domain.shared.errors import FieldError, Malformed
from webapp.domain.shared.timestamps import format_timestamp

Row = TypeVar("Row")
Position = tuple[int | str, ...]
DEFAULT_LIMIT = 50


def _sort_name(model: ModelInfo) -> str:
    return model.display_name.casefold()


# Every key ends with the ref, so that no two rows are equal and the reverse order is exactly the other way round.
SORT_KEYS: Mapping[str, SortKey] = {
    "": lambda model: (model.sort_order, _sort_name(model), model.ref),
    "display_name": lambda model: (_sort_name(model), model.ref),
    "ref": lambda model: (model.ref,),
    "provider": lambda model: (model.provider, model.ref),
    "type": lambda model: (model.type, model.ref),
    "updated_at": lambda model: (format_timestamp(model.updated_at), model.ref),
}
SORTS = tuple(f"{sign}{name}" for name in SORT_KEYS if name for sign in ("", "-"))

ModelPredicate = Callable[[ModelInfo], bool]
FILTERS: Mapping[str, Callable[[Any], ModelPredicate]] = {
    "type": lambda wanted: lambda model: model.type == wanted,
    "capability": lambda wanted: lambda model: wanted in model.capabilities,
    "provider": lambda wanted: lambda model: model.provider == wanted,
    "active": lambda wanted: lambda model: model.active == wanted,
    "default": lambda wanted: lambda model: model.default == wanted,
    "price_state": lambda wanted: lambda model: model.price_state == wanted,
    "q": lambda wanted: lambda model: _matches_search(model, wanted.casefold()),
}
MODELS_QUERY = (
    choice_parameter("type", MODEL_TYPES, "Models of this type."),
    Parameter("capability", parse_text, TEXT, "Models that can do this, such as vision."),
    Parameter("provider", parse_text, TEXT, "Models of the provider with this slug."),
    Parameter("active", parse_boolean, BOOLEAN, "Active models, or inactive ones."),
    Parameter("default", parse_boolean, BOOLEAN, "The defaults of their types, or all others."),
    choice_parameter("price_state", PRICE_STATES, "Models whose price is in this state now."),
    SEARCH,
    choice_parameter("sort", SORTS, "The order; display order if left out."),
    LIMIT,
    CURSOR,
)


def _matches_search(model: ModelInfo, wanted: str) -> bool:
    return wanted in model.ref.casefold() or wanted in _sort_name(model) or any(wanted in alias.casefold() for alias in model.aliases)


class Page(NamedTuple):
    """Some rows of a list, how many there are in all, and the cursor for what follows."""

    rows: Sequence[Any]
    total: int
    next_cursor: str | None


def paginate_models(state: EncodedRegistry, asked: Mapping[str, Any]) -> Page:
    """The page of models that the query asks for."""
    sort = asked.get("sort", "")
    name = sort.lstrip("-")
    fits = [FILTERS[filter_name](asked[filter_name]) for filter_name in FILTERS if filter_name in asked]
    rows: Iterable[ModelInfo] = state.sorted_models(name, SORT_KEYS[name])
    kept = [model for model in rows if all(fit(model) for fit in fits)] if fits else list(rows)
    return paginate(kept, SORT_KEYS[name], asked, descending=sort.startswith("-"))


def paginate(rows: list[Row], key: Callable[[Row], Position], asked: Mapping[str, Any], *, descending: bool = False) -> Page:
    """The page of these rows, which are sorted by `key` upwards, that comes after the cursor."""
    limit, marker = asked.get("limit", DEFAULT_LIMIT), _query_checksum(asked)
    remaining = rows
    if "cursor" in asked:
        position = _decode_cursor(asked["cursor"], marker, key(rows[0]) if rows else None)
        if rows:
            remaining = rows[: bisect_left(rows, position, key=key)] if descending else rows[bisect_right(rows, position, key=key) :]
    if descending:
        remaining = remaining[::-1]
    shown = remaining[:limit]
    return Page(shown, len(rows), _encode_cursor(marker, key(shown[-1])) if len(remaining) > limit else None)


def _query_checksum(asked: Mapping[str, Any]) -> int:
    """Ties a cursor to the filters and the order that it was made for."""
    chosen_by = sorted((name, str(value)) for name, value in asked.items() if name not in ("limit", "cursor"))
    return zlib.crc32(repr(chosen_by).encode("utf-8", "backslashreplace"))


def _encode_cursor(marker: int, position: Position) -> str:
    return base64.urlsafe_b64encode(json.dumps([marker, *position]).encode()).decode().rstrip("=")


def _decode_cursor(cursor: str, marker: int, example: Position | None) -> Position:
    """Where the last page ended. Raises `Malformed` unless the cursor is one of ours, for this very list."""
    try:
        found, *position = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True))
    except (binascii.Error, UnicodeError, ValueError, TypeError):
        raise _invalid_cursor() from None
    fits = example is None or [type(part) for part in position] == [type(part) for part in example]
    if found != marker or not fits:
        raise _invalid_cursor()
    return tuple(position)


def _invalid_cursor() -> Malformed:
    message = "is not the next_cursor of a page with the same filters and sort"
    return Malformed(f"cursor {message}", [FieldError("cursor", message)])


def encode_page(bodies: Iterable[bytes], shown: Page) -> bytes:
    """The body of a page."""
    cursor = "null" if shown.next_cursor is None else f'"{shown.next_cursor}"'
    return b'{"data":[%b],"next_cursor":%b,"total":%d}' % (b",".join(bodies), cursor.encode(), shown.total)
