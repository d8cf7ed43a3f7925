"""Tables: columns, constraints, relationships; no business rules. Importing this package makes Alembic see all of them."""

from webapp.models.access import ApiToken, OneTimeLink, User, UserSession
from webapp.models.audit import AuditEvent
from webapp.models.base import MAX_ID, Base
from webapp.models.catalog import Credential, Model, ModelAlias, Price, PriceRate, Provider
from webapp.models.runs import Run, RunRecommendation
from webapp.models.state import RegistryProcess, RegistryState
from webapp.models.usage import UsageRecord

__all__ = [
    "MAX_ID",
    "ApiToken",
    "AuditEvent",
    "Base",
    "Credential",
    "Model",
    "ModelAlias",
    "OneTimeLink",
    "Price",
    "PriceRate",
    "Provider",
    "RegistryProcess",
    "RegistryState",
    "Run",
    "RunRecommendation",
    "UsageRecord",
    "User",
    "UserSession",
]
