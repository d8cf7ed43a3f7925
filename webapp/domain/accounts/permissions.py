"""Permissions, and the roles and token scopes that grant them. Access is denied by default."""

from collections.abc import Mapping
from enum import StrEnum


class Permission(StrEnum):
    """A permission, named `scope:resource:action`."""

    REGISTRY_READ = "registry:all:read"
    REGISTRY_WRITE = "registry:all:write"
    RUNS_WRITE = "runs:all:write"
    USAGE_READ = "usage:all:read"
    USAGE_WRITE = "usage:all:write"
    CREDENTIALS_WRITE = "registry:credentials:write"
    AUDIT_READ = "audit:events:read"
    ACCOUNTS_MANAGE = "accounts:all:manage"


P = Permission
_VIEWER = frozenset({P.REGISTRY_READ, P.USAGE_READ})
_EDITOR = _VIEWER | {P.REGISTRY_WRITE, P.RUNS_WRITE, P.AUDIT_READ}
_ADMIN = _EDITOR | {P.CREDENTIALS_WRITE, P.ACCOUNTS_MANAGE}

ROLES: Mapping[str, frozenset[Permission]] = {"viewer": _VIEWER, "editor": _EDITOR, "admin": _ADMIN}

# The permissions that a token scope grants to an application.
SCOPES: Mapping[str, frozenset[Permission]] = {
    "registry:read": frozenset({P.REGISTRY_READ}),
    "registry:write": frozenset({P.REGISTRY_WRITE, P.CREDENTIALS_WRITE}),
    "runs:write": frozenset({P.RUNS_WRITE}),
    "usage:write": frozenset({P.USAGE_WRITE}),
    "usage:read": frozenset({P.USAGE_READ}),
}


def role_allows(role: str, permission: Permission) -> bool:
    return permission in ROLES.get(role, frozenset())


def scopes_allow(scopes: frozenset[str], permission: Permission) -> bool:
    return any(permission in SCOPES.get(scope, frozenset()) for scope in scopes)
