"""Form fields, parsers for form and URL input, and export cells that spreadsheets do not run as formulas."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from flask_wtf import FlaskForm
from werkzeug.datastructures import MultiDict
from wtforms import HiddenField, SelectMultipleField, StringField, widgets
from wtforms.validators import InputRequired

from webapp.admin.core.flask_admin_adapter import rules
from webapp.domain.shared.errors import Stale

# Digits, optionally in groups of three: `1,5` must not become 15.
WHOLE_NUMBER = re.compile(r"-?[0-9]{1,15}|[0-9]{1,3}(?:[, ][0-9]{3}){1,4}", re.ASCII)
MAX_PAGE = 1_000_000  # Offsets must stay below 2^63, the limit of the databases.
FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r", "\0", "＝", "＋", "－", "＠")


class HiddenFieldRule(rules.BaseRule):
    """Form rule for a hidden field. It renders nothing, because hidden fields are rendered separately."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    @property
    def visible_fields(self) -> list[str]:
        return [self.name]

    def __call__(self, form: Any, form_opts: Any = None, field_args: Any = None) -> str:
        return ""


class StaffForm(FlaskForm):
    """Form of text fields that keep the input as it was typed. The services validate it."""

    edit_conflict: Any = None  # Set if someone else saved first (edit_conflicts.py).
    confirmations: Any = ()  # Set if the change has consequences that the user has not confirmed.

    def __init__(self, formdata: Any = None, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(formdata, data=data)  # type: ignore[no-untyped-call] # Flask-WTF is untyped


class VersionedForm(StaffForm):
    """Form of a row that several people can edit at once. It carries the values it was filled from (edit_conflicts.py)."""

    row_version = HiddenField()
    row_base = HiddenField()


VERSION_RULES = (HiddenFieldRule("row_version"), HiddenFieldRule("row_base"))


def pills_field(label: str, choices: Iterable[tuple[str, str]], description: str = "") -> SelectMultipleField:
    """Return a multiple-choice field with checkboxes in a row."""
    return SelectMultipleField(
        label,
        choices=list(choices),
        description=description,
        validate_choice=False,
        widget=widgets.ListWidget(prefix_label=False),
        option_widget=widgets.CheckboxInput(),
    )


def required_field(label: str, description: str = "", **attributes: Any) -> StringField:
    return StringField(label, [InputRequired("is required")], description=description, render_kw=attributes or None)


def date_field(label: str, description: str = "") -> StringField:
    return StringField(label, description=description, render_kw={"type": "date"})


def lookup_attributes(url: str, ref: str | None, label: str | None) -> dict[str, str]:
    """Return the attributes that make a text field a searchable select. Without JavaScript it stays a text field."""
    selected = json.dumps([ref, label or ref]) if ref else "[]"
    return {
        "data-role": "select2-ajax",
        "data-url": url,
        "data-json": selected,
        "data-placeholder": "Search a model…",
        "spellcheck": "false",
    }


def version_of(text: str | None) -> int | None:
    """Return the row version that the form was filled from. Raises `Stale` if the text cannot be a version."""
    if not text:
        return None
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    raise Stale("This form is damaged. Load the page again and repeat your change.")


def parse_whole_number(text: str | None) -> object:
    """Return the entered number, or None if the text is empty. Invalid text is returned unchanged, and the services reject it."""
    clean = (text or "").strip()
    if WHOLE_NUMBER.fullmatch(clean):
        return int(clean.replace(",", "").replace(" ", ""))
    return clean or None


def requested_page(arguments: MultiDict[str, str]) -> int:
    """Return the requested page of a list, counted from 0. Invalid values mean the first page and are never an error."""
    return min(max(arguments.get("page", 0, type=int), 0), MAX_PAGE)


def split_list(text: str | None) -> list[str]:
    """Return the entries of a text, which are separated by commas or line breaks."""
    return [entry.strip() for entry in (text or "").replace(",", "\n").splitlines() if entry.strip()]


def safe_cell(value: object) -> object:
    if isinstance(value, str) and value.lstrip(" \n").startswith(FORMULA_PREFIXES):
        return f"'{value}"
    return "" if value is None else value
