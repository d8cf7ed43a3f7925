"""Adapter for Flask-Admin. Only this module imports it, apart from `expose`, so that an upgrade affects one file."""

from flask_admin import Admin, BaseView
from flask_admin.actions import action
from flask_admin.base import AdminIndexView
from flask_admin.contrib.sqla import ModelView
from flask_admin.form import FormOpts, rules
from flask_admin.helpers import get_form_data
from flask_admin.model.base import ViewArgs
from flask_admin.model.filters import BaseFilter
from flask_admin.theme import Bootstrap4Theme

__all__ = [
    "Admin",
    "AdminIndexView",
    "BaseFilter",
    "BaseView",
    "Bootstrap4Theme",
    "FormOpts",
    "ModelView",
    "ViewArgs",
    "action",
    "get_form_data",
    "rules",
]
