"""Restores a row from the audit log. It uses every other area."""
