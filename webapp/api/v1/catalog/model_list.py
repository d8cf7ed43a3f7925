"""Model lists: in-memory filters, sorting and pagination. A cursor names the last row seen, so no row is skipped or repeated."""

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
from webapp.domain.shared import validators
from webapp.domain.shared.errors import FieldError, Invalid, Malformed, quote_text
from webapp.domain.shared.timestamps import format_timestamp

Row = TypeVar("Row")
Position = tuple[int | str, ...]
DEFAULT_LIMIT = 50
MAX_NAMED_PROVIDERS = 30


def _sort_name(model: ModelInfo) -> str:
    return model.display_name.casefold()


# Every key ends with the ref. No two keys are equal, so the descending order is the exact reverse of the ascending one.
SORT_KEYS: Mapping[str, SortKey] = {
    "": lambda model: (model.sort_order, _sort_name(model), model.ref),
    "display_name": lambda model: (_sort_name(model), model.ref),
    "ref": lambda model: (model.ref,),
    "provider": lambda model: (model.provider, model.ref),
    "type": lambda model: (model.type, model.ref),
    "updated_at": lambda model: (format_timestamp(model.updated_at), model.ref),
}
SORTS = tuple(f"{sign}{name}" for name in SORT_KEYS if name for sign in ("", "-"))


def _parse_slugs(text: str, name: str) -> tuple[str, ...]:
    """Parse one or more slugs, separated by commas."""
    return tuple(validators.slug(word, name) for word in text.split(","))


def _parse_capability(text: str, name: str) -> str:
    if "," in text:
        raise Invalid.field(name, "takes one capability: send a request for each")
    return parse_text(text, name)


ModelPredicate = Callable[[ModelInfo], bool]
FILTERS: Mapping[str, Callable[[Any], ModelPredicate]] = {
    "type": lambda value: lambda model: model.type == value,
    "capability": lambda value: lambda model: value in model.capabilities,
    "provider": lambda values: lambda model: model.provider in values,
    "active": lambda value: lambda model: model.active == value,
    "default": lambda value: lambda model: model.default == value,
    "price_state": lambda value: lambda model: model.price_state == value,
    "q": lambda value: lambda model: _matches_search(model, value.casefold()),
}
MODELS_QUERY = (
    choice_parameter("type", MODEL_TYPES, "Models of this type."),
    Parameter("capability", _parse_capability, TEXT, "Models that can do this, such as vision."),
    Parameter("provider", _parse_slugs, TEXT, "Models of the provider with this slug, or of several: `openai,mistral`."),
    Parameter("active", parse_boolean, BOOLEAN, "Active models, or inactive ones."),
    Parameter("default", parse_boolean, BOOLEAN, "The defaults of their types, or all others."),
    choice_parameter("price_state", PRICE_STATES, "Models whose price is in this state now."),
    SEARCH,
    choice_parameter("sort", SORTS, "The order; display order if left out."),
    LIMIT,
    CURSOR,
)


def _matches_search(model: ModelInfo, text: str) -> bool:
    return text in model.ref.casefold() or text in _sort_name(model) or any(text in alias.casefold() for alias in model.aliases)


class Page(NamedTuple):
    """One page of a list: its rows, the total number of rows, and the cursor of the next page."""

    rows: Sequence[Any]
    total: int
    next_cursor: str | None


def paginate_models(state: EncodedRegistry, query: Mapping[str, Any]) -> Page:
    """Return the page of models that the query selects."""
    _require_known_providers(state, query.get("provider", ()))
    sort = query.get("sort", "")
    name = sort.lstrip("-")
    predicates = [FILTERS[filter_name](query[filter_name]) for filter_name in FILTERS if filter_name in query]
    rows: Iterable[ModelInfo] = state.sorted_models(name, SORT_KEYS[name])
    matching = [model for model in rows if all(matches(model) for matches in predicates)] if predicates else list(rows)
    return paginate(matching, SORT_KEYS[name], query, descending=sort.startswith("-"))


def _require_known_providers(state: EncodedRegistry, slugs: Sequence[str]) -> None:
    """Raise `Malformed` for a slug without a provider, because an empty list would look like a provider without models."""
    known = state.snapshot.providers
    if unknown := [slug for slug in slugs if slug not in known]:
        message = f"has no provider with the slug {quote_text(unknown[0])}; slugs are {', '.join(sorted(known)[:MAX_NAMED_PROVIDERS])}"
        raise Malformed.of([FieldError("provider", message)])


def paginate(rows: list[Row], key: Callable[[Row], Position], query: Mapping[str, Any], *, descending: bool = False) -> Page:
    """Return the page after the cursor. `rows` must be sorted by `key` in ascending order."""
    limit, checksum = query.get("limit", DEFAULT_LIMIT), _query_checksum(query)
    remaining = rows
    if "cursor" in query:
        position = _decode_cursor(query["cursor"], checksum, key(rows[0]) if rows else None)
        if rows:
            remaining = rows[: bisect_left(rows, position, key=key)] if descending else rows[bisect_right(rows, position, key=key) :]
    if descending:
        remaining = remaining[::-1]
    page_rows = remaining[:limit]
    return Page(page_rows, len(rows), _encode_cursor(checksum, key(page_rows[-1])) if len(remaining) > limit else None)


def _query_checksum(query: Mapping[str, Any]) -> int:
    """Return a checksum of the filters and the sort order, which binds a cursor to its list."""
    criteria = sorted((name, str(value)) for name, value in query.items() if name not in ("limit", "cursor"))
    return zlib.crc32(repr(criteria).encode("utf-8", "backslashreplace"))


def _encode_cursor(checksum: int, position: Position) -> str:
    return base64.urlsafe_b64encode(json.dumps([checksum, *position]).encode()).decode().rstrip("=")


def _decode_cursor(cursor: str, checksum: int, example: Position | None) -> Position:
    """Return the position where the previous page ended. Raises `Malformed` unless the cursor belongs to this list."""
    try:
        cursor_checksum, *position = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True))
    except (binascii.Error, UnicodeError, ValueError, TypeError):
        raise _invalid_cursor() from None
    types_match = example is None or [type(part) for part in position] == [type(part) for part in example]
    if cursor_checksum != checksum or not types_match:
        raise _invalid_cursor()
    return tuple(position)


def _invalid_cursor() -> Malformed:
    message = "is not the next_cursor of a page with the same filters and sort"
    return Malformed(f"cursor {message}", [FieldError("cursor", message)])


def encode_page(bodies: Iterable[bytes], page: Page) -> bytes:
    """Encode a page as JSON."""
    cursor = "null" if page.next_cursor is None else f'"{page.next_cursor}"'
    return b'{"data":[%b],"next_cursor":%b,"total":%d}' % (b",".join(bodies), cursor.encode(), page.total)
