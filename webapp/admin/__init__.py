"""The admin for staff, built on Flask-Admin with its own templates (templates/admin)."""

from flask import Flask

from webapp.admin import dashboard
from webapp.admin.accounts.account import Account
from webapp.admin.accounts.api_tokens import Tokens
from webapp.admin.accounts.second_factor import SecondFactor
from webapp.admin.accounts.users import Users
from webapp.admin.audit.audit import AuditLog
from webapp.admin.catalog.explain import Explainer
from webapp.admin.catalog.models import Models
from webapp.admin.catalog.providers import Providers
from webapp.admin.catalog_sync.proposals import Proposals
from webapp.admin.core.flask_admin_adapter import Admin, BaseView, Bootstrap4Theme
from webapp.admin.jobs.jobs import Jobs
from webapp.admin.pricing.calculator import Calculator
from webapp.admin.pricing.compare import ModelComparison
from webapp.admin.pricing.prices import Prices
from webapp.admin.pricing.whatif import WhatIf
from webapp.admin.projects.projects import MyKeys, Projects
from webapp.admin.runs.evaluations import Evaluations
from webapp.admin.runs.prompt_templates import Prompts
from webapp.admin.runs.runs import Runs
from webapp.admin.runs.tryit import TryIt
from webapp.admin.transfer.import_export import ImportExport

THEME = Bootstrap4Theme(base_template="admin/core/base.html", fluid=True)


def init_app(app: Flask) -> None:
    """Build the admin and its views. Views are bound to one application, so they are created here and not at import."""
    index = dashboard.Dashboard(name="Dashboard", url="/admin", menu_icon_type="icon", menu_icon_value="layout-dashboard")
    admin = Admin(app, name="Modeldesk", url="/admin", theme=THEME, index_view=index)
    for view in build_views():
        admin.add_view(view)


def build_views() -> list[BaseView]:
    """Return all views in menu order."""
    return [
        Providers(name="Providers", endpoint="provider", url="provider", category="Registry", **menu_icon("cloud")),
        Models(name="Models", endpoint="model", url="model", category="Registry", **menu_icon("box")),
        Prices(name="Prices", endpoint="price", url="price", category="Registry", **menu_icon("coin")),
        Proposals(name="Proposals", endpoint="proposal", url="proposals", category="Registry", **menu_icon("git-compare")),
        Projects(name="Projects", endpoint="project", url="project", category="Registry", **menu_icon("tag")),
        ImportExport(name="Import and export", endpoint="exchange", url="exchange", category="Registry", **menu_icon("file-import")),
        Calculator(name="Price calculator", endpoint="calculator", url="calculator", category="Use", **menu_icon("calculator")),
        ModelComparison(name="Compare models", endpoint="compare", url="compare", category="Use", **menu_icon("scale")),
        WhatIf(name="What if", endpoint="whatif", url="what-if", category="Use", **menu_icon("arrows-diff")),
        Explainer(name="Explain", endpoint="explain", url="explain", category="Use", **menu_icon("help-circle")),
        TryIt(name="Try it", endpoint="tryit", url="try-it", category="Use", **menu_icon("flask")),
        Evaluations(name="Benches", endpoint="bench", url="bench", category="Use", **menu_icon("columns")),
        Prompts(name="Prompt templates", endpoint="prompts", url="prompts", category="Use", **menu_icon("template")),
        Runs(name="Runs", endpoint="run", category="Use", **menu_icon("history")),
        MyKeys(name="My keys", endpoint="mykeys", url="my-keys", category="Use", **menu_icon("key")),
        Users(name="Users", endpoint="user", url="user", category="Administration", **menu_icon("users")),
        Tokens(name="API tokens", endpoint="token", url="token", category="Administration", **menu_icon("key")),
        Jobs(name="Jobs", endpoint="job", url="job", category="Administration", **menu_icon("stack-2")),
        Account(name="Your account", endpoint="account_page", url="account"),
        SecondFactor(name="Second factor", endpoint="second_factor", url="second-factor"),
        AuditLog(name="Audit log", endpoint="audit", url="audit", category="Administration", **menu_icon("clipboard-list")),
    ]


def menu_icon(name: str) -> dict[str, str]:
    """Return the view options that set the icon of a menu item."""
    return {"menu_icon_type": "icon", "menu_icon_value": name}
