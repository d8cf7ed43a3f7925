"""The form of a model: fields that keep what was typed, and their values as the entry that the services check."""

from typing import Any

from wtforms import BooleanField, SelectField, StringField, TextAreaField

from webapp.admin.core.fields import VERSION, VersionedForm, a_day, listed, pills, required, whole
from webapp.admin.core.flask_admin_adapter import rules
from webapp.admin.core.formatters import words
from webapp.domain.catalog.entities import KNOWN_CAPABILITIES, MODEL_TYPES
from webapp.models import Model

TEMPERATURE = (("", "As the driver knows it"), ("yes", "Allowed"), ("no", "Not allowed"))
TOKEN_PARAMETERS = (("", "As the driver knows it"), ("max_tokens", "max_tokens"), ("max_completion_tokens", "max_completion_tokens"))


class ModelForm(VersionedForm):
    """Numbers and dates are text here: the services say what is wrong with them, in the same words as the JSON endpoint."""

    provider = SelectField("Provider", validate_choice=False)
    model_id = required("Model id", "As the vendor spells it, for example gpt-4o-mini.", spellcheck="false", autocapitalize="off")
    display_name = required("Name", "What people read in lists.")
    type = SelectField("Type", choices=[(name, words(name).capitalize()) for name in MODEL_TYPES], validate_choice=False)
    description = TextAreaField("Description")
    context_window = StringField("Context window", description="The most that fits into one request.", render_kw={"inputmode": "numeric"})
    max_output_tokens = StringField("Longest answer", render_kw={"inputmode": "numeric"})
    capabilities = pills("Capabilities", [(name, words(name)) for name in KNOWN_CAPABILITIES])
    more_capabilities = StringField("Other capabilities", description="Words such as web_search, separated by commas.")
    aliases = TextAreaField(
        "Other names",
        description="One per line or separated by commas. * and ? make a pattern, such as gpt-4o-mini-*.",
        render_kw={"spellcheck": "false"},
    )
    released_on = a_day("Released on")
    deprecated_on = a_day("Deprecated on")
    retires_on = a_day("Retires on", "From this day on (UTC) it counts as not supported.")
    successor = StringField("Successor", description="The model to use instead, as provider/model.")
    active = BooleanField("Active", default=True, description="An inactive model stays in the list, but no application may use it.")
    default = BooleanField("Default of its type", description="It takes the place of the default that there is.")
    sort_order = StringField("Order", default="0", description="Lower numbers come first.", render_kw={"inputmode": "numeric"})
    token_parameter = SelectField("Name of the token limit", choices=TOKEN_PARAMETERS, validate_choice=False)
    temperature = SelectField("Temperature", choices=TEMPERATURE, validate_choice=False)


RULES = (
    rules.FieldSet(
        (rules.Text("What it is called, here and at the vendor."), "provider", "model_id", "display_name", "type", "description"),
        "Identity",
    ),
    rules.FieldSet((rules.Text("Empty means that nobody has said."), "context_window", "max_output_tokens"), "Limits"),
    rules.FieldSet(
        (rules.Text("What it can do: comparisons and the try-it page ask for these."), "capabilities", "more_capabilities"), "Capabilities"
    ),
    rules.FieldSet((rules.Text("Under which other names applications may ask for it."), "aliases"), "Names"),
    rules.FieldSet(
        (
            rules.Text("Dates are days in UTC; people are warned before a model retires."),
            "released_on",
            "deprecated_on",
            "retires_on",
            "successor",
        ),
        "Lifecycle",
    ),
    rules.FieldSet((rules.Text("Changes reach every worker within a second."), "active", "default", "sort_order", *VERSION), "State"),
    rules.FieldSet(
        (rules.Text("Where this model wants to be asked differently from its siblings."), "token_parameter", "temperature"), "Quirks"
    ),
)
AS_TYPED = ("provider", "model_id", "display_name", "type", "description", "released_on", "deprecated_on", "retires_on", "successor")
WIDGETS: dict[str, dict[str, Any]] = {
    "context_window": {"append": "tokens"},
    "max_output_tokens": {"append": "tokens"},
    "description": {"rows": 3},
    "aliases": {"rows": 3},
    "provider": {"data-searchable": ""},
}


def typed_values(model: Model) -> dict[str, Any]:
    """A row as the form shows it."""
    known = [name for name in model.capabilities if name in KNOWN_CAPABILITIES]
    quirks = model.quirks or {}
    temperature = quirks.get("temperature")
    return {
        "provider": model.provider.slug,
        "model_id": model.model_id,
        "display_name": model.display_name,
        "type": model.type,
        "description": model.description,
        "context_window": grouped(model.context_window),
        "max_output_tokens": grouped(model.max_output_tokens),
        "capabilities": known,
        "more_capabilities": ", ".join(name for name in model.capabilities if name not in known),
        "aliases": "\n".join(alias.alias for alias in model.aliases),
        "released_on": model.released_on,
        "deprecated_on": model.deprecated_on,
        "retires_on": model.retires_on,
        "successor": model.successor,
        "active": model.is_active,
        "default": model.is_default,
        "sort_order": str(model.sort_order),
        "token_parameter": quirks.get("token_parameter") or "",
        "temperature": "" if temperature is None else "yes" if temperature else "no",
        "row_version": str(model.version),
    }


def entered_values(form: ModelForm, row: Model | None) -> dict[str, Any]:
    """The form as the services take it. What the form does not show of the row stays, the order of its capabilities too."""
    return {name: form[name].data or "" for name in AS_TYPED} | {
        "context_window": whole(form.context_window.data),
        "max_output_tokens": whole(form.max_output_tokens.data),
        "capabilities": _capabilities(form, row.capabilities if row else []),
        "aliases": listed(form.aliases.data),
        "active": bool(form.active.data),
        "default": bool(form.default.data),
        "sort_order": whole(form.sort_order.data) or 0,
        "quirks": _quirks(form, row.quirks if row else {}),
    }


def _capabilities(form: ModelForm, present: list[str]) -> list[str]:
    chosen = [*(form.capabilities.data or []), *listed(form.more_capabilities.data)]
    return [name for name in present if name in chosen] + [name for name in chosen if name not in present]


def _quirks(form: ModelForm, present: dict[str, Any]) -> dict[str, Any]:
    said = {
        "token_parameter": form.token_parameter.data or None,
        "temperature": {"yes": True, "no": False}.get(form.temperature.data or ""),
    }
    kept = {name: value for name, value in present.items() if name not in said}
    return kept | {name: value for name, value in said.items() if value is not None}


def grouped(number: int | None) -> str:
    return "" if number is None else f"{number:,}"
