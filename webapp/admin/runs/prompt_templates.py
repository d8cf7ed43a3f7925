"""Prompt templates: the list, the page of one with its versions and preview, and the forms that add versions."""

from collections.abc import Mapping
from typing import Any, ClassVar

from flask import Response, flash, redirect, request
from flask_admin import expose
from werkzeug.wrappers import Response as Redirect

from webapp.admin.core.base import GuardedView
from webapp.admin.core.fields import parse_whole_number, version_of
from webapp.admin.runs.prompt_preview import build_preview
from webapp.domain.accounts.permissions import Permission
from webapp.domain.incidents.prompt_templates import CATEGORIES, PLACEHOLDER_VALUES, diff_lines
from webapp.domain.shared.errors import Conflict, Forbidden, Invalid, ModeldeskError, Stale
from webapp.domain.shared.money import format_decimal
from webapp.domain.shared.three_way_merge import merge
from webapp.extensions import db
from webapp.models import PromptTemplate
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.runs import prompt_templates, response_cache
from webapp.web.auth import actor, has_permission

FIELDS = ("name", "title", "category", "system", "user", "preferred_model", "temperature", "max_tokens", "cache_minutes", "note")
EDITABLE_FIELDS = tuple(name for name in FIELDS if name not in ("name", "note"))
TEXT_FIELDS = ("system", "user")
FIELD_LABELS = {  # The form labels. The labels of all other fields derive from their names.
    "system": "Instructions",
    "user": "Question",
    "max_tokens": "Longest answer",
    "cache_minutes": "Keep answers for",
    "is_active": "Active",
}
BLANK_FORM: Mapping[str, str] = dict.fromkeys(FIELDS, "") | {"category": "incident", "user": "{{incident}}", "cache_minutes": "0"}
CHANGE_MESSAGES = {"delete": "The template was deleted.", "activate": "The template is active.", "deactivate": "The template is inactive."}


class Prompts(GuardedView):
    """The prompts sent to models. Every role can read them; editors add versions."""

    needs = Permission.REGISTRY_READ
    purpose: ClassVar[str] = "What models are told about an incident. Every change is a new version, and each run says which one it used."

    @expose("/")
    def index(self) -> str:
        word, category = request.args.get("search", "").strip()[:200], request.args.get("category", "")[:60]
        rows = [row for row in prompt_templates.list_current(db.session()) if _matches(row, word, category)]
        usage_rows = [{"row": row, "use": prompt_templates.usage(db.session(), row.name)} for row in rows]
        cached_count = response_cache.count(db.session())
        categories = sorted({row.category for row in prompt_templates.list_current(db.session())})
        return self.render(
            "admin/runs/prompt_templates/list.html",
            rows=usage_rows,
            search=word,
            category=category,
            categories=categories,
            kept=cached_count,
            may_edit=can_edit(),
        )

    @expose("/<slug>/")
    def details(self, slug: str) -> str:
        return self._details(prompt_templates.find(db.session(), slug, request.args.get("version", type=int)), request.args)

    @expose("/<slug>/preview", methods=("POST",))
    def preview(self, slug: str) -> str:
        """Render the template with a sample, a saved incident or pasted text. Calls no model and stores nothing."""
        row = prompt_templates.find(db.session(), slug, request.form.get("version", type=int))
        if "HX-Request" in request.headers:
            return self.render("admin/runs/prompt_templates/_preview.html", row=row, **build_preview(row, request.form))
        return self._details(row, request.form)

    def _details(self, row: PromptTemplate, values: Mapping[str, str]) -> str:
        session = db.session()
        versions = prompt_templates.list_versions(session, row.name)
        older = request.args.get("against", type=int) or next(
            (version.version for version in versions if version.version < row.version), None
        )
        return self.render(
            "admin/runs/prompt_templates/details.html",
            row=row,
            versions=versions,
            use=prompt_templates.usage(session, row.name),
            may_edit=can_edit(),
            against=older,
            compared=_list_differences(prompt_templates.find(session, row.name, older), row) if older else [],
            temperature=None if row.temperature is None else format_decimal(row.temperature),
            **build_preview(row, values),
        )

    @expose("/new", methods=("GET", "POST"))
    def create(self) -> Any:
        return self._edit(None, BLANK_FORM, lambda session, entry: prompt_templates.create(session, entry, actor=actor()))

    @expose("/<slug>/edit", methods=("GET", "POST"))
    def edit(self, slug: str) -> Any:
        row = prompt_templates.find(db.session(), slug)

        def revise(session: Any, entry: dict[str, Any]) -> PromptTemplate:
            return prompt_templates.revise(session, slug, entry, actor=actor(), version=version_of(request.form.get("row_version")))

        return self._edit(row, _form_values(row), revise)

    def _edit(self, row: PromptTemplate | None, values: Mapping[str, str], save: Any) -> Any:
        require_edit_permission()
        errors: dict[str, str] = {}
        conflict = None
        if request.method == "POST":
            values = {name: request.form.get(name, "") for name in FIELDS}
            try:
                with writing(refresh=False) as session:
                    name = save(session, _build_entry(values, with_name=row is None)).name
            except ModeldeskError as error:
                errors = _errors_by_field(error)
                if row is not None and isinstance(error, Stale):
                    row, values, conflict = _merge_stale_edit(row.name, values)
            else:
                flash("Saved as a new version." if row else "The template was added.", "success")
                return redirect(self.get_url(".details", slug=name))
        models = [model.ref for model in container.registry().snapshot.by_type.get("text", ()) if model.supported]
        page = self.render(
            "admin/runs/prompt_templates/edit.html",
            row=row,
            typed=values,
            errors=errors,
            categories=CATEGORIES,
            models=models,
            placeholders=list(PLACEHOLDER_VALUES),
            overtaken=conflict,
        )
        return Response(page, 422 if errors else 200)

    @expose("/<slug>/<any(activate,deactivate,delete):what>", methods=("POST",))
    def change(self, slug: str, what: str) -> Redirect:
        require_edit_permission()
        try:
            with writing(refresh=False) as session:
                if what == "delete":
                    prompt_templates.delete(session, slug, actor=actor())
                else:
                    prompt_templates.set_active(session, slug, what == "activate", actor=actor())
        except ModeldeskError as error:
            flash(error.detail, "error")
            return redirect(self.get_url(".details", slug=slug))
        flash(CHANGE_MESSAGES[what], "success")
        return redirect(self.get_url(".index") if what == "delete" else self.get_url(".details", slug=slug))

    @expose("/<slug>/restore", methods=("POST",))
    def restore(self, slug: str) -> Redirect:
        require_edit_permission()
        version = parse_whole_number(request.form.get("version"))
        with writing(refresh=False) as session:
            row = prompt_templates.restore(session, slug, version if isinstance(version, int) else 0, actor=actor())
            new_version = row.version
        flash(f"Version {version} is current again, as version {new_version}.", "success")
        return redirect(self.get_url(".details", slug=slug))

    @expose("/cache/clear", methods=("POST",))
    def clear_cache(self) -> Redirect:
        require_edit_permission()
        with writing(refresh=False) as session:
            removed = response_cache.clear(session, actor=actor())
        flash(f"{removed:,} remembered answer{'s were' if removed != 1 else ' was'} removed.", "success")
        return redirect(self.get_url(".index"))


def can_edit() -> bool:
    return has_permission(Permission.REGISTRY_WRITE)


def require_edit_permission() -> None:
    if not can_edit():
        raise Forbidden("Your role does not allow this. Ask an admin.")


def _matches(row: PromptTemplate, word: str, category: str) -> bool:
    text = f"{row.name} {row.title} {row.category} {row.preferred_model or ''}".casefold()
    return all(part in text for part in word.casefold().split()) and category in ("", row.category)


def _form_values(row: PromptTemplate) -> dict[str, str]:
    values = {name: getattr(row, name) for name in FIELDS if name != "note"}
    values["temperature"] = None if row.temperature is None else format_decimal(row.temperature)
    return {name: "" if value is None else str(value) for name, value in values.items()} | {"note": ""}


def _build_entry(values: Mapping[str, str], *, with_name: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {name: values[name].strip() for name in FIELDS if with_name or name != "name"}
    return entry | {
        "max_tokens": parse_whole_number(values["max_tokens"]),
        "cache_minutes": parse_whole_number(values["cache_minutes"]) or 0,
    }


def _errors_by_field(error: ModeldeskError) -> dict[str, str]:
    """Return the messages by field. Messages that belong to no field have an empty key and appear at the top."""
    if isinstance(error, Invalid | Conflict) and error.errors:
        return {field_error.field if field_error.field in FIELDS else "": field_error.message for field_error in error.errors}
    return {"": error.detail}


def _merge_stale_edit(name: str, values: Mapping[str, str]) -> tuple[PromptTemplate, dict[str, str], dict[str, Any]]:
    """Return the newest version, the merged form, and the conflict to show.

    Fields that the user left unchanged take their values from the newest version. A form with an unknown version counts as based on the
    newest one, so none of its fields change.
    """
    newest, opened_version = prompt_templates.find(db.session(), name), parse_whole_number(request.form.get("row_version"))
    older = next((version for version in prompt_templates.list_versions(db.session(), name) if version.version == opened_version), newest)
    newest_values = _form_values(newest)
    accepted = [field for field in merge(_form_values(older), newest_values, values).accepted if field in EDITABLE_FIELDS]
    conflict = {
        "by": newest.created_by,
        "at": newest.created_at,
        "since": older.version,
        "compared": _list_differences(older, newest),
        "taken": [_field_label(field) for field in accepted],
    }
    return newest, dict(values) | {field: newest_values[field] for field in accepted}, conflict


def _field_label(field: str) -> str:
    return FIELD_LABELS.get(field, field.replace("_", " ").capitalize())


def _list_differences(older: PromptTemplate, newer: PromptTemplate) -> list[dict[str, Any]]:
    """Return the changed texts with their line diffs, and the changed settings."""
    differences: list[dict[str, Any]] = []
    for field in TEXT_FIELDS:
        if getattr(older, field) != getattr(newer, field):
            differences.append({"label": _field_label(field), "lines": list(diff_lines(getattr(older, field), getattr(newer, field)))})
    for field in ("title", "category", "preferred_model", "temperature", "max_tokens", "cache_minutes", "is_active"):
        before, after = getattr(older, field), getattr(newer, field)
        if before != after:
            differences.append({"label": _field_label(field), "before": before, "after": after})
    return differences
