"""Successors of models: a chain of successors never returns to the model where it starts."""

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from webapp.domain.shared.errors import Invalid
from webapp.models import Model, ModelAlias, Provider


def require_no_loop(session: Session, model: Model) -> None:
    """Raise `Invalid` if the model is its own successor, directly or after other models. Expects flushed rows."""
    chain = [model]
    while (successor := _get_successor_or_none(session, chain[-1])) is not None and successor not in chain[1:]:
        if successor is model:
            steps = " -> ".join(row.ref for row in (*chain, model))
            message = "names the model itself" if len(chain) == 1 else f"leads back to this model: {steps}"
            raise Invalid.field("successor", f"{message}. Choose another model, or leave it empty")
        chain.append(successor)


def _get_successor_or_none(session: Session, model: Model) -> Model | None:
    """Return the model that the successor names: a ref, an id of the same provider, an alias, or an id of another provider."""
    name = model.successor
    if not name:
        return None
    ref = Provider.slug + "/" + Model.model_id
    query = select(Model).join(Provider).outerjoin(ModelAlias, ModelAlias.model_id == Model.id)
    rows = session.execute(query.where(or_(ref == name, Model.model_id == name, ModelAlias.alias == name))).scalars().all()

    def preference(row: Model) -> tuple[bool, ...]:
        return row.ref != name, row.ref != f"{model.provider.slug}/{name}", row.model_id == name

    return min(rows, key=preference, default=None)
