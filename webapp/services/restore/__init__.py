"""Restore of a row from the audit log. This area uses every other one."""
