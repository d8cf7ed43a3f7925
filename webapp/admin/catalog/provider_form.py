"""Form of a provider. The key is write-only: the server accepts it and never returns it."""

import json
from contextlib import suppress
from typing import Any

from wtforms import BooleanField, PasswordField, SelectField, StringField, TextAreaField

from webapp.admin.core.fields import VERSION_RULES, VersionedForm, parse_whole_number, required_field, split_list
from webapp.admin.core.flask_admin_adapter import rules
from webapp.domain.catalog.driver_config import TOKEN_PARAMETERS
from webapp.domain.shared.money import format_decimal
from webapp.drivers import DRIVERS, availability
from webapp.models import Provider

CONFIG_TEXT_FIELDS = ("auth_header", "auth_prefix", "bare_key", "token_parameter", "json_mode", "path")
CONFIG_JSON_FIELDS = ("extra_headers", "request_template", "response_paths")
NUMBER_INPUT = {"inputmode": "numeric"}
URL_INPUT = {"type": "url", "spellcheck": "false", "placeholder": "https://"}


class ProviderForm(VersionedForm):
    """Form of a provider. Numbers stay text, so that the services report errors in the same words as the JSON endpoint."""

    row: Provider | None = None  # The provider that is edited.

    display_name = required_field("Name", "What people read in lists.")
    slug = required_field("Slug", "The first part of every ref, such as openai in openai/gpt-4o.", spellcheck="false", autocapitalize="off")
    description = TextAreaField("Description")
    driver = SelectField("Driver", validate_choice=False, description="The protocol that this provider speaks.")
    base_url = StringField(
        "Base URL",
        render_kw=URL_INPUT,
        description="Empty: the driver's own address. Changing where it leads removes the stored key: it was meant for the old one.",
    )
    move_confirmed = BooleanField("Remove the stored keys")
    api_key = PasswordField("New key", description="Stored encrypted and never shown again. Empty keeps the key that there is.")
    remove_key = BooleanField("Remove the stored key")
    required_environment = StringField(
        "Environment variables",
        description="Where a key is looked for when none is stored, such as OPENAI_API_KEY. "
        "A vendor's own variable is sent to that vendor only; what else may be sent where, the operator says in MODELDESK_KEY_VARIABLES.",
    )
    default_temperature = StringField("Temperature", render_kw={"inputmode": "decimal"})
    default_max_tokens = StringField("Longest answer", render_kw=NUMBER_INPUT)
    timeout_seconds = StringField("Timeout", render_kw=NUMBER_INPUT)
    auth_header = StringField("Header of the key", description="Where it is not Authorization, such as X-Api-Key.")
    auth_prefix = StringField("Before the key", description="Where it is not Bearer.")
    bare_key = BooleanField("Send the key bare", description="With nothing before it, not even Bearer.")
    extra_headers = TextAreaField(
        "Extra headers",
        description='As JSON, such as {"X-Team": "ops"}. They are stored and shown as they are: keys do not belong here.',
        render_kw={"spellcheck": "false"},
    )
    token_parameter = SelectField(
        "Name of the token limit", choices=[("", "The driver's own"), *((name, name) for name in TOKEN_PARAMETERS)], validate_choice=False
    )
    json_mode = SelectField(
        "How JSON is asked for",
        choices=[
            ("", "The driver's own"),
            ("json_schema", "By a schema"),
            ("json_object", "As any JSON object"),
            ("prompt", "In the instructions only"),
        ],
        validate_choice=False,
    )
    path = StringField("Path", description="Of the custom driver with a template: where questions are sent, such as /chat/completions.")
    request_template = TextAreaField(
        "Request template",
        description="Of the custom driver, as JSON with {{user}}, {{system}}, {{model}}, {{max_tokens}}, {{temperature}} or {{schema}}.",
        render_kw={"spellcheck": "false"},
    )
    response_paths = TextAreaField(
        "Answer paths",
        description='Where the answer to a template lies, as JSON, such as {"text": "choices.0.message.content"}.',
        render_kw={"spellcheck": "false"},
    )
    active = BooleanField("Active", default=True, description="Without an active provider none of its models is supported.")
    allow_shared_key = BooleanField("Staff may share its key", default=True)
    allow_personal_keys = BooleanField("Staff may use keys of their own")
    sort_order = StringField("Order", default="0", description="Lower numbers come first.", render_kw=NUMBER_INPUT)
    website = StringField("Website", render_kw=URL_INPUT)
    documentation_url = StringField("Documentation", render_kw=URL_INPUT)


class KeyRule(rules.BaseRule):
    """Form section for the key. A template renders it, because it shows the state of the current key."""

    visible_fields = ("api_key", "remove_key")

    def __call__(self, form: Any, form_opts: Any = None, field_args: Any = None) -> Any:
        return form.key_part()


class MoveRule(rules.BaseRule):
    """Form section that warns before saving removes keys. A template renders it. It is empty if no key would be removed."""

    visible_fields = ("move_confirmed",)

    def __call__(self, form: Any, form_opts: Any = None, field_args: Any = None) -> Any:
        return form.move_part()


RULES = (
    rules.FieldSet((rules.Text("What it is called."), "display_name", "slug", "description"), "Identity"),
    rules.FieldSet((rules.Text("How it is reached."), "driver", "base_url", MoveRule()), "Connection"),
    rules.FieldSet((rules.Text("Write-only: a key can be replaced or removed, never read."), KeyRule(), "required_environment"), "Key"),
    rules.FieldSet(
        (rules.Text("Used where a request does not say otherwise."), "default_temperature", "default_max_tokens", "timeout_seconds"),
        "Defaults",
    ),
    rules.FieldSet(
        (
            rules.Text("For gateways that want to be asked in their own way. What is left empty is the driver's own."),
            "auth_header",
            "auth_prefix",
            "bare_key",
            "token_parameter",
            "json_mode",
            "extra_headers",
            "path",
            "request_template",
            "response_paths",
        ),
        "Advanced",
    ),
    rules.FieldSet(
        (
            rules.Text("Changes reach every worker within a second."),
            "active",
            "allow_shared_key",
            "allow_personal_keys",
            "sort_order",
            *VERSION_RULES,
        ),
        "State",
    ),
    rules.FieldSet((rules.Text("Where people read more."), "website", "documentation_url"), "Links"),
)
WIDGETS: dict[str, dict[str, Any]] = {
    "default_max_tokens": {"append": "tokens", "column_class": "col-md-4"},
    "default_temperature": {"column_class": "col-md-4"},
    "timeout_seconds": {"append": "seconds", "column_class": "col-md-4"},
    "description": {"rows": 2},
    "extra_headers": {"rows": 3},
    "request_template": {"rows": 4},
    "response_paths": {"rows": 3},
    "auth_header": {"column_class": "col-md-6"},
    "auth_prefix": {"column_class": "col-md-6"},
    "token_parameter": {"column_class": "col-md-6"},
    "json_mode": {"column_class": "col-md-6"},
}


def driver_choices() -> list[tuple[str, str]]:
    """Return the drivers as choices. The label of an unavailable driver has the reason."""
    choices = [("", "Choose a driver…")]
    for name, info in DRIVERS.items():
        usable, reason = availability(name)
        choices.append((name, info.label if usable else f"{info.label} ({(reason or '').partition(':')[0]})"))
    return choices


def form_values(provider: Provider) -> dict[str, Any]:
    """Return a row's values for the form, without its key."""
    config = provider.config or {}
    temperature = provider.default_temperature
    return {
        "display_name": provider.display_name,
        "slug": provider.slug,
        "description": provider.description,
        "driver": provider.driver,
        "base_url": provider.base_url,
        "required_environment": ", ".join(provider.required_environment),
        "default_temperature": "" if temperature is None else format_decimal(temperature),
        "default_max_tokens": _format_number(provider.default_max_tokens),
        "timeout_seconds": _format_number(provider.timeout_seconds),
        **{name: config.get(name) or "" for name in CONFIG_TEXT_FIELDS},
        **{name: _format_json(config.get(name)) for name in CONFIG_JSON_FIELDS},
        "bare_key": config.get("auth_prefix") == "",
        "active": provider.is_active,
        "allow_shared_key": provider.allow_shared_key,
        "allow_personal_keys": provider.allow_personal_keys,
        "sort_order": str(provider.sort_order),
        "website": provider.website,
        "documentation_url": provider.documentation_url,
        "row_version": str(provider.version),
    }


TEXT_FIELDS = ("display_name", "slug", "description", "driver", "base_url", "website", "documentation_url")


def entry_values(form: ProviderForm, config: dict[str, Any]) -> dict[str, Any]:
    """Return the form as input for the services, without the key. `config` is the row's current configuration."""
    return {name: (form[name].data or "").strip() for name in TEXT_FIELDS} | {
        "default_temperature": (form.default_temperature.data or "").strip(),
        "default_max_tokens": parse_whole_number(form.default_max_tokens.data),
        "timeout_seconds": parse_whole_number(form.timeout_seconds.data),
        "required_environment": split_list(form.required_environment.data),
        "active": bool(form.active.data),
        "allow_shared_key": bool(form.allow_shared_key.data),
        "allow_personal_keys": bool(form.allow_personal_keys.data),
        "sort_order": parse_whole_number(form.sort_order.data) or 0,
        "config": _merge_config(form, config),
    }


def _merge_config(form: ProviderForm, current: dict[str, Any]) -> dict[str, Any]:
    """Return the driver configuration: the form's entries and the current settings that the form does not show."""
    hidden = {name: value for name, value in current.items() if name not in (*CONFIG_TEXT_FIELDS, *CONFIG_JSON_FIELDS)}
    entered: dict[str, Any] = {name: (form[name].data or "").strip() for name in CONFIG_TEXT_FIELDS}
    entered |= {name: parse_json_object(form[name].data) for name in CONFIG_JSON_FIELDS}
    no_scheme = {"auth_prefix": ""} if form.bare_key.data and not entered["auth_prefix"] else {}
    return hidden | no_scheme | {name: value for name, value in entered.items() if value}


def parse_json_object(text: str | None) -> dict[str, Any] | None:
    """Parse a JSON object. Empty text is an empty object. Returns None if the text is not an object."""
    if not (text or "").strip():
        return {}
    with suppress(ValueError, RecursionError):
        parsed = json.loads(text or "")
        if isinstance(parsed, dict):
            return parsed
    return None


def _format_json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) if value else ""


def _format_number(number: int | None) -> str:
    return "" if number is None else str(number)
