"""The admin for staff, on Flask-Admin: its engine, and our own face (templates/admin)."""

from flask import Flask
from flask_admin import Admin, BaseView
from flask_admin.theme import Bootstrap4Theme

from webapp.admin import dashboard
from webapp.admin.calculator import Calculator
from webapp.admin.runs import Runs
from webapp.admin.tryit import TryIt

THEME = Bootstrap4Theme(base_template="admin/base.html", fluid=True)


def init_app(app: Flask) -> None:
    """Builds the admin and its views. They are bound to one application, so they are made here and not at import."""
    index = dashboard.Dashboard(name="Dashboard", url="/admin", menu_icon_type="icon", menu_icon_value="dashboard")
    admin = Admin(app, name="Modeldesk", url="/admin", theme=THEME, index_view=index)
    for view in views():
        admin.add_view(view)


def views() -> list[BaseView]:
    """All views in the order of the menu."""
    return [
        Calculator(name="Price calculator", endpoint="calculator", url="calculator", **icon("calculator")),
        TryIt(name="Try it", endpoint="tryit", url="try-it", **icon("flask")),
        Runs(name="Runs", endpoint="run", **icon("history")),
    ]


def icon(name: str) -> dict[str, str]:
    """How a view says which icon of the sprite stands beside it in the menu."""
    return {"menu_icon_type": "icon", "menu_icon_value": name}
