"""Comparison of a provider's model list with the registry: new, known and removed models. It never changes values that staff set."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from webapp.domain.catalog.name_changes import similar_id_confirmations
from webapp.domain.shared.errors import Confirmation

NEW, KNOWN, GONE = "new", "known", "gone"
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
    """One row of the review. New and known models have `listed`; known and removed models have `registered`.

    `problem` says why a new model cannot be added, `confirmations` what must be confirmed to add it.
    """

    state: str
    model_id: str
    type: str
    listed: ListedModel | None = None
    registered: RegisteredModel | None = None
    problem: str = ""
    confirmations: Sequence[Confirmation] = ()

    @property
    def name(self) -> str:
        listed = self.listed.display_name if self.listed else None
        return (self.registered.display_name if self.registered else None) or listed or self.model_id


def guess_type(model_id: str) -> str:
    """Return the probable type of a model with this name."""
    return next((kind for kind, pattern in _TYPES if re.search(pattern, model_id, re.IGNORECASE)), "text")


def compare_model_lists(listed: Iterable[ListedModel], present: Iterable[RegisteredModel]) -> list[DiscoveredModel]:
    """Return new models first, then removed, then known ones, each group by name."""
    registered: Mapping[str, RegisteredModel] = {model.model_id: model for model in present}
    offered = {model.model_id: model for model in listed}
    rows = [
        DiscoveredModel(KNOWN, name, guess_type(name), model, registered[name])
        if name in registered
        else DiscoveredModel(NEW, name, guess_type(name), model, confirmations=similar_id_confirmations(name, (*registered, *offered)))
        for name, model in offered.items()
    ]
    rows += [DiscoveredModel(GONE, name, guess_type(name), None, model) for name, model in registered.items() if name not in offered]
    order = (NEW, GONE, KNOWN)
    return sorted(rows, key=lambda row: (order.index(row.state), row.model_id.casefold()))
