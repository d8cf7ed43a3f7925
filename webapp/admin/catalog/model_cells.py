"""Cells of the model list. Prices come from the registry's snapshot, so a page needs no database query for them."""

from collections.abc import Callable, Mapping

from flask import g, url_for
from markupsafe import Markup

from webapp.admin.core.formatters import (
    capability_icons,
    exported_rate,
    format_tokens,
    humanize,
    icon,
    input_cell,
    output_cell,
    tag,
    type_tag,
)
from webapp.domain.catalog.entities import ModelInfo
from webapp.domain.catalog.snapshot import Snapshot
from webapp.models import Model
from webapp.runtime import container

Cell = Callable[[object, object, Model, str], object]


def snapshot() -> Snapshot:
    """Return the registry's snapshot for this request, so that all cells of a page agree."""
    if "snapshot" not in g:
        g.snapshot = container.registry().snapshot
    current: Snapshot = g.snapshot
    return current


def info_of(model: Model) -> ModelInfo | None:
    return snapshot().by_name.get(model.ref)


def model_label(model: ModelInfo) -> str:
    return f"{model.display_name} · {model.ref}"


def _model_url(model: Model, action: str) -> str:
    if "models_url" not in g:
        g.models_url = url_for("model.index_view")
    return f"{g.models_url}{model.id}/{action}"


def active_switch(model: Model) -> Markup:
    """Return the switch of a row. It is a submit button of a form, so that it also works without JavaScript."""
    if not g.get("may_edit", True):
        return tag("Active", "green") if model.is_active else tag("Inactive")
    address = f"{_model_url(model, 'active')}?to={0 if model.is_active else 1}"
    return Markup(
        '<button type="submit" class="switch" role="switch" aria-checked="{0}" data-switch form="row_form" formaction="{1}" '
        'hx-post="{1}" aria-label="{2} active"></button>'
    ).format("true" if model.is_active else "false", address, model.display_name)


def default_star(model: Model) -> Markup:
    """Return the mark of a default model, or the button that makes the model the default of its type."""
    kind = humanize(model.type)
    if model.is_default:
        star = Markup('<span class="star is-on" role="img" aria-label="Default for {0}" title="Default for {0}">{1}</span>')
        return star.format(kind, icon("star-filled"))
    if not g.get("may_edit", True):
        return Markup("")
    return Markup(
        '<button type="submit" class="btn btn-action star" form="row_form" formaction="{0}" hx-post="{0}" hx-swap="none" '
        'aria-label="Make {1} the default for {2}" title="Make it the default for {2}">{3}</button>'
    ).format(f"{_model_url(model, 'default')}?to=1", model.display_name, kind, icon("star"))


def _name_cell(_: object, __: object, model: Model, ___: str) -> Markup:
    return Markup('{}<span class="row-ref">{}</span>').format(model.display_name, model.ref)


def _drawer_link(model: Model, content: Markup) -> Markup:
    """Return a price cell as a link to the price details. With JavaScript they open in the drawer."""
    return Markup('<a class="price-link" href="{0}" hx-get="{0}" hx-target="#drawer-body" data-drawer="Price of {1}">{2}</a>').format(
        _model_url(model, "price"), model.display_name, content
    )


def _price_export_cell(_: object, __: object, model: Model, name: str) -> object:
    info = info_of(model)
    price = info.price if info else None
    if name == "price_state":
        return price.state if price else "unknown"
    if name == "currency":
        return price.currency if price else ""
    return exported_rate(price, name)


CELLS: Mapping[str, Cell] = {
    "display_name": _name_cell,
    "provider": lambda _, __, model, ___: model.provider.display_name,
    "type": lambda _, __, model, ___: type_tag(model.type),
    "context_window": lambda _, __, model, ___: format_tokens(model.context_window),
    "input": lambda _, __, model, ___: _drawer_link(model, input_cell(info_of(model))),
    "output": lambda _, __, model, ___: _drawer_link(model, output_cell(info_of(model))),
    "capabilities": lambda _, __, model, ___: capability_icons(tuple(model.capabilities)),
    "is_default": lambda _, __, model, ___: default_star(model),
    "is_active": lambda _, __, model, ___: active_switch(model),
}
EXPORT_CELLS: Mapping[str, Cell] = {
    "capabilities": lambda _, __, model, ___: " ".join(model.capabilities),
    **dict.fromkeys(("price_state", "currency", "input", "output"), _price_export_cell),
}
