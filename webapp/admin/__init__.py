"""The admin for staff, on Flask-Admin: its engine, and our own face (templates/admin)."""

from flask import Flask
from flask_admin import Admin, BaseView
from flask_admin.theme import Bootstrap4Theme

from webapp.admin import dashboard

THEME = Bootstrap4Theme(base_template="admin/base.html", fluid=True)


def init_app(app: Flask) -> None:
    """Builds the admin and its views. They are bound to one application, so they are made here and not at import."""
    index = dashboard.Dashboard(name="Dashboard", url="/admin", menu_icon_type="icon", menu_icon_value="dashboard")
    admin = Admin(app, name="Modeldesk", url="/admin", theme=THEME, index_view=index)
    for view in views():
        admin.add_view(view)


def views() -> list[BaseView]:
    """All views in the order of the menu."""
    return []
