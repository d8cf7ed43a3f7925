"""Form of a model: fields that keep the input as it was typed, and their values as input for the services."""

from datetime import date
from typing import Any

from wtforms import BooleanField, SelectField, StringField, TextAreaField

from webapp.admin.core.fields import VERSION_RULES, VersionedForm, date_field, parse_whole_number, pills_field, required_field, split_list
from webapp.admin.core.flask_admin_adapter import rules
from webapp.admin.core.formatters import humanize
from webapp.domain.catalog.entities import KNOWN_CAPABILITIES, MODEL_TYPES
from webapp.models import Model

TEMPERATURE_CHOICES = (("", "As the driver knows it"), ("yes", "Allowed"), ("no", "Not allowed"))
TOKEN_PARAMETER_CHOICES = (("", "As the driver knows it"), ("max_tokens", "max_tokens"), ("max_completion_tokens", "max_completion_tokens"))


class ModelForm(VersionedForm):
    """Form of a model. Numbers and dates stay text, so that the services report errors in the same words as the JSON endpoint."""

    provider = SelectField("Provider", validate_choice=False)
    model_id = required_field("Model id", "As the vendor spells it, for example gpt-4o-mini.", spellcheck="false", autocapitalize="off")
    display_name = required_field("Name", "What people read in lists.")
    type = SelectField("Type", choices=[(name, humanize(name).capitalize()) for name in MODEL_TYPES], validate_choice=False)
    description = TextAreaField("Description")
    context_window = StringField("Context window", description="The most that fits into one request.", render_kw={"inputmode": "numeric"})
    max_output_tokens = StringField("Longest answer", render_kw={"inputmode": "numeric"})
    capabilities = pills_field("Capabilities", [(name, humanize(name)) for name in KNOWN_CAPABILITIES])
    more_capabilities = StringField("Other capabilities", description="Words such as web_search, separated by commas.")
    aliases = TextAreaField(
        "Other names",
        description="One per line or separated by commas. * and ? make a pattern, such as gpt-4o-mini-*.",
        render_kw={"spellcheck": "false"},
    )
    released_on = date_field("Released on")
    deprecated_on = date_field("Deprecated on")
    retires_on = date_field("Retires on", "From this day on (UTC) it counts as not supported.")
    successor = StringField("Successor", description="The model to use instead, as provider/model.")
    active = BooleanField("Active", default=True, description="An inactive model stays in the list, but no application may use it.")
    default = BooleanField("Default of its type", description="It takes the place of the default that there is.")
    sort_order = StringField("Order", default="0", description="Lower numbers come first.", render_kw={"inputmode": "numeric"})
    token_parameter = SelectField("Name of the token limit", choices=TOKEN_PARAMETER_CHOICES, validate_choice=False)
    temperature = SelectField("Temperature", choices=TEMPERATURE_CHOICES, validate_choice=False)


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
    rules.FieldSet((rules.Text("Changes reach every worker within a second."), "active", "default", "sort_order", *VERSION_RULES), "State"),
    rules.FieldSet(
        (rules.Text("Where this model wants to be asked differently from its siblings."), "token_parameter", "temperature"), "Quirks"
    ),
)
TEXT_FIELDS = ("provider", "model_id", "display_name", "type", "description", "released_on", "deprecated_on", "retires_on", "successor")
WIDGETS: dict[str, dict[str, Any]] = {
    "context_window": {"append": "tokens"},
    "max_output_tokens": {"append": "tokens"},
    "description": {"rows": 3},
    "aliases": {"rows": 3},
    "provider": {"data-searchable": ""},
}


def form_values(model: Model) -> dict[str, Any]:
    """Return a row's values for the form."""
    known = [name for name in model.capabilities if name in KNOWN_CAPABILITIES]
    quirks = model.quirks or {}
    temperature = quirks.get("temperature")
    return {
        "provider": model.provider.slug,
        "model_id": model.model_id,
        "display_name": model.display_name,
        "type": model.type,
        "description": model.description,
        "context_window": group_digits(model.context_window),
        "max_output_tokens": group_digits(model.max_output_tokens),
        "capabilities": known,
        "more_capabilities": ", ".join(name for name in model.capabilities if name not in known),
        "aliases": "\n".join(alias.alias for alias in model.aliases),
        "released_on": _date_text(model.released_on),
        "deprecated_on": _date_text(model.deprecated_on),
        "retires_on": _date_text(model.retires_on),
        "successor": model.successor,
        "active": model.is_active,
        "default": model.is_default,
        "sort_order": str(model.sort_order),
        "token_parameter": quirks.get("token_parameter") or "",
        "temperature": "" if temperature is None else "yes" if temperature else "no",
        "row_version": str(model.version),
    }


def entry_values(form: ModelForm, row: Model | None) -> dict[str, Any]:
    """Return the form as input for the services. It keeps the row's hidden quirks and the order of its capabilities."""
    return {name: form[name].data or "" for name in TEXT_FIELDS} | {
        "context_window": parse_whole_number(form.context_window.data),
        "max_output_tokens": parse_whole_number(form.max_output_tokens.data),
        "capabilities": _merge_capabilities(form, row.capabilities if row else []),
        "aliases": split_list(form.aliases.data),
        "active": bool(form.active.data),
        "default": bool(form.default.data),
        "sort_order": parse_whole_number(form.sort_order.data) or 0,
        "quirks": _merge_quirks(form, row.quirks if row else {}),
    }


def _merge_capabilities(form: ModelForm, current: list[str]) -> list[str]:
    selected = [*(form.capabilities.data or []), *split_list(form.more_capabilities.data)]
    return [name for name in current if name in selected] + [name for name in selected if name not in current]


def _merge_quirks(form: ModelForm, current: dict[str, Any]) -> dict[str, Any]:
    entered = {
        "token_parameter": form.token_parameter.data or None,
        "temperature": {"yes": True, "no": False}.get(form.temperature.data or ""),
    }
    hidden = {name: value for name, value in current.items() if name not in entered}
    return hidden | {name: value for name, value in entered.items() if value is not None}


def _date_text(day: date | None) -> str:
    return day.isoformat() if day else ""


def group_digits(number: int | None) -> str:
    return "" if number is None else f"{number:,}"
