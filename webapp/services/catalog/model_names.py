"""Names of models in the database: which are taken, and which need a confirmation."""

from collections.abc import Iterable

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from webapp.domain.catalog.name_confirmations import similar_id_confirmations
from webapp.domain.shared.errors import Confirmation, Conflict, FieldError
from webapp.models import Model, ModelAlias, Provider


def require_free_id(session: Session, provider_id: int, model_id: str, own_id: int | None) -> None:
    """Raise `Conflict` if the id is that of another model of this provider, or an alias of one."""
    query = select(Model.id).where(Model.provider_id == provider_id, Model.model_id == model_id)
    if session.execute(query).scalar_one_or_none() not in (None, own_id):
        raise Conflict("This provider already has a model of that id.", [FieldError("model_id", "is taken")], code="duplicate")
    query = (
        select(ModelAlias.id).join(Model).where(Model.provider_id == provider_id, ModelAlias.alias == model_id, Model.id != (own_id or -1))
    )
    if session.execute(query).first() is not None:
        message = "is another name of another model of this provider"
        raise Conflict(f"{model_id} {message}.", [FieldError("model_id", message)], code="duplicate")


def list_taken_aliases(session: Session, aliases: Iterable[str], model: Model) -> list[str]:
    """Return the aliases that already lead to another model. The bare id of an inactive model is free: it yields to an active model."""
    names = list(aliases)
    if not names:
        return []
    as_alias = session.execute(select(ModelAlias.alias).where(ModelAlias.alias.in_(names))).scalars()
    own_id = model.id if model.id is not None else -1
    ref = Provider.slug + "/" + Model.model_id
    as_id = session.execute(
        select(Model.model_id, Model.is_active, ref)
        .join(Provider)
        .where(or_(Model.model_id.in_(names), ref.in_(names)), Model.id != own_id)
    )
    taken = set(as_alias)
    for model_id, is_active, ref_text in as_id:
        taken |= {model_id, ref_text} if is_active else {ref_text}
    return [name for name in names if name in taken]


def list_confirmations(session: Session, provider_slug: str, model_id: str) -> list[Confirmation]:
    """Return what a person must confirm before a model of this provider gets this id."""
    query = select(Model.model_id).join(Provider).where(Provider.slug == provider_slug, func.lower(Model.model_id) == model_id.lower())
    return similar_id_confirmations(model_id, session.execute(query).scalars())


def confirmation_keys(session: Session, provider_slug: str, model_id: str) -> list[str]:
    """Return the keys of the confirmations, for changes that a person confirmed elsewhere."""
    return [confirmation.key for confirmation in list_confirmations(session, provider_slug, model_id)]
