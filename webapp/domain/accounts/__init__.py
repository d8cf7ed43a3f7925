"""Permissions of roles, settings of OpenID, and secrets that are too weak."""
