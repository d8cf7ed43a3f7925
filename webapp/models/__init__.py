"""Tables: columns, constraints and relationships, without business rules. Importing this package makes Alembic see all of them."""

from webapp.models.accounts import ApiToken, Identity, LoginAttempt, OneTimeLink, RecoveryCode, UsedAuthorization, User, UserSession
from webapp.models.audit import AuditEvent, AuditState
from webapp.models.base import MAX_ID, Base
from webapp.models.catalog import Credential, Model, ModelAlias, Price, PriceRate, PriceVerification, Provider
from webapp.models.catalog_sync import Proposal, ProposalRow, SourceCopy
from webapp.models.evaluations import Evaluation, EvaluationCell, Rating, SavedIncident
from webapp.models.jobs import Job, JobWorkerReport
from webapp.models.projects import CredentialCounter, Project, ProjectOverride
from webapp.models.prompt_templates import CachedResponse, PromptTemplate
from webapp.models.provider_checks import ProviderCheck
from webapp.models.registry_state import RegistryProcess, RegistryState
from webapp.models.runs import Run, RunRecommendation
from webapp.models.transfer import ImportDraft
from webapp.models.usage import UsageRecord

__all__ = [
    "MAX_ID",
    "ApiToken",
    "AuditEvent",
    "AuditState",
    "Base",
    "CachedResponse",
    "Credential",
    "CredentialCounter",
    "Evaluation",
    "EvaluationCell",
    "Identity",
    "ImportDraft",
    "Job",
    "JobWorkerReport",
    "LoginAttempt",
    "Model",
    "ModelAlias",
    "OneTimeLink",
    "Price",
    "PriceRate",
    "PriceVerification",
    "Project",
    "ProjectOverride",
    "PromptTemplate",
    "Proposal",
    "ProposalRow",
    "Provider",
    "ProviderCheck",
    "Rating",
    "RecoveryCode",
    "RegistryProcess",
    "RegistryState",
    "Run",
    "RunRecommendation",
    "SavedIncident",
    "SourceCopy",
    "UsageRecord",
    "UsedAuthorization",
    "User",
    "UserSession",
]
