"""Successors of models: a chain of successors never returns to the model where it starts."""

from webapp.domain.shared.errors import Invalid
from webapp.services.catalog.name_book import NameBook


def require_no_loop(names: NameBook, ref: str) -> None:
    """Raise `Invalid` if the model is its own successor, directly or after other models."""
    model = names.get_or_none(ref)
    loop = names.successor_loop(model.key) if model is not None else []
    if loop:
        message = "names the model itself" if len(loop) == 2 else f"leads back to this model: {' -> '.join(loop)}"
        raise Invalid.field("successor", f"{message}. Choose another model, or leave it empty")
