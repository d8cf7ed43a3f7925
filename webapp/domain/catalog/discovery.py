"""What a provider lists beside what the registry has: new, known and gone. Nothing that staff set is ever changed by it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

NEW, KNOWN, GONE = "new", "known", "gone"
# By what vendors call their models; a guess that staff see and can change before anything is added.
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
    """A model as its provider lists it."""

    model_id: str
    display_name: str | None = None
    context_window: int | None = None
    max_output_tokens: int | None = None
    lifecycle: str | None = None


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A model of the registry, as far as the comparison needs it."""

    id: int
    model_id: str
    display_name: str
    active: bool


@dataclass(frozen=True, slots=True)
class DiscoveredModel:
    """One row of the review: `listed` for new and known ones, `present` for known and gone ones."""

    state: str
    model_id: str
    type: str
    listed: ListedModel | None = None
    registered: RegisteredModel | None = None

    @property
    def name(self) -> str:
        listed = self.listed.display_name if self.listed else None
        return (self.registered.display_name if self.registered else None) or listed or self.model_id


def guess_type(model_id: str) -> str:
    """The type that a model of this name probably has."""
    return next((kind for kind, pattern in _TYPES if re.search(pattern, model_id, re.IGNORECASE)), "text")


def compare_models(listed: Iterable[ListedModel], present: Iterable[RegisteredModel]) -> list[DiscoveredModel]:
    """New ones first, then those that the provider no longer lists, then the known ones; each by name."""
    here: Mapping[str, RegisteredModel] = {model.model_id: model for model in present}
    there = {model.model_id: model for model in listed}
    found = [
        DiscoveredModel(KNOWN if name in here else NEW, name, guess_type(name), model, here.get(name)) for name, model in there.items()
    ]
    found += [DiscoveredModel(GONE, name, guess_type(name), None, model) for name, model in here.items() if name not in there]
    order = (NEW, GONE, KNOWN)
    return sorted(found, key=lambda one: (order.index(one.state), one.model_id.casefold()))
