"""Consequences of model names that a person must confirm."""

from collections.abc import Iterable

from webapp.domain.shared.errors import Confirmation

SIMILAR_ID = "similar_id"


def similar_id_confirmations(model_id: str, other_ids: Iterable[str]) -> list[Confirmation]:
    """Return a confirmation for each other id of the same provider that differs from `model_id` only in case."""
    folded = model_id.lower()
    similar_ids = sorted({existing_id for existing_id in other_ids if existing_id != model_id and existing_id.lower() == folded})
    return [
        Confirmation(SIMILAR_ID, f"{model_id} differs from {similar_id}, a model of this provider, only in case. They are two models.")
        for similar_id in similar_ids
    ]
