"""Comparison of a provider's model list with the registry: new, known and removed models. It never changes values that staff set."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from webapp.domain.catalog.name_changes import similar_id_confirmations
from webapp.domain.shared.errors import Confirmation

NEW, BLOCKED, GONE, KNOWN = "new", "blocked", "gone", "known"
STATES = (NEW, BLOCKED, GONE, KNOWN)  # In the order of the review.
PAGE_SIZE = 500
MAX_LISTED = 50_000  # A longer list is cut, and the page says so.
# Guesses from the vendors' naming conventions. Staff can correct the type before a model is added.
_TYPES = (
    ("embedding", r"embed"),
    ("speech_to_text", r"whisper|transcri|speech-to-text"),
    ("text_to_speech", r"\btts\b|-tts|text-to-speech|voice"),
    ("image", r"dall-e|imagen|image|flux|stable-diffusion"),
    ("video", r"\bsora\b|\bveo\b|video"),
    ("rerank", r"rerank"),
    ("audio", r"audio"),
)


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model in the provider's list."""

    model_id: str
    display_name: str | None = None
    context_window: int | None = None
    max_output_tokens: int | None = None
    lifecycle: str | None = None


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """The fields of a registry model that the comparison needs."""

    id: int
    model_id: str
    display_name: str
    active: bool


@dataclass(frozen=True, slots=True)
class DiscoveredModel:
    """One row of the review. New, blocked and known models have `listed`; known and removed models have `registered`.

    `problem` says why a blocked model cannot be added, `confirmations` what must be confirmed to add a new one.
    """

    state: str
    model_id: str
    listed: ListedModel | None = None
    registered: RegisteredModel | None = None
    problem: str = ""
    confirmations: Sequence[Confirmation] = ()

    @property
    def name(self) -> str:
        listed = self.listed.display_name if self.listed else None
        return (self.registered.display_name if self.registered else None) or listed or self.model_id

    @property
    def type(self) -> str:
        """The probable type. Staff can correct it before the model is added."""
        return guess_type(self.model_id)

    def matches(self, words: Iterable[str]) -> bool:
        """Return whether id or name contain all of these casefolded words."""
        text = f"{self.model_id} {self.name}".casefold()
        return all(word in text for word in words)


@dataclass(frozen=True, slots=True)
class DiscoveryPage:
    """One page of a review. `page` counts from 1. `counts` are the rows of the whole review per state, `total` those that match."""

    rows: Sequence[DiscoveredModel]
    page: int
    pages: int
    total: int
    counts: Mapping[str, int]

    @property
    def first(self) -> int:
        """The position of the page's first row among all that match, from 1."""
        return (self.page - 1) * PAGE_SIZE + 1


def guess_type(model_id: str) -> str:
    """Return the probable type of a model with this name."""
    return next((kind for kind, pattern in _TYPES if re.search(pattern, model_id, re.IGNORECASE)), "text")


def compare_model_lists(listed: Iterable[ListedModel], present: Iterable[RegisteredModel]) -> list[DiscoveredModel]:
    """Return a row for each model of either list, in no particular order. Ids that differ only in case have confirmations."""
    registered: Mapping[str, RegisteredModel] = {model.model_id: model for model in present}
    offered = {model.model_id: model for model in listed}
    spellings: dict[str, list[str]] = defaultdict(list)
    for name in {*registered, *offered}:
        spellings[name.lower()].append(name)
    rows = [
        DiscoveredModel(KNOWN, name, model, registered[name])
        if name in registered
        else DiscoveredModel(NEW, name, model, confirmations=similar_id_confirmations(name, spellings[name.lower()]))
        for name, model in offered.items()
    ]
    return rows + [DiscoveredModel(GONE, name, None, model) for name, model in registered.items() if name not in offered]


def select_page(rows: Iterable[DiscoveredModel], *, query: str = "", state: str = "", page: int = 1) -> DiscoveryPage:
    """Return a page of the rows in this state that contain all words of the query, sorted by state and id.

    A page out of range is the nearest one.
    """
    ordered = sorted(rows, key=lambda row: (STATES.index(row.state), row.model_id.casefold()))
    counts = Counter(row.state for row in ordered)
    words = query.casefold().split()
    matching = [row for row in ordered if state in ("", row.state) and row.matches(words)]
    pages = max(1, -(-len(matching) // PAGE_SIZE))
    page = min(max(page, 1), pages)
    return DiscoveryPage(matching[(page - 1) * PAGE_SIZE : page * PAGE_SIZE], page, pages, len(matching), counts)
