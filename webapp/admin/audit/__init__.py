"""The audit log, and its events as text."""
