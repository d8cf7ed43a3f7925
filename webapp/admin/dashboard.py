"""The dashboard: what the registry answers now, and what needs somebody."""

from flask_admin import expose

from webapp.admin.base import GuardedIndex
from webapp.domain.permissions import Permission


class Dashboard(GuardedIndex):
    """The first page after signing in."""

    needs = Permission.REGISTRY_READ

    @expose("/")
    def index(self) -> str:
        return self.render("admin/index.html")
