"""Projects, their overrides and keys."""
