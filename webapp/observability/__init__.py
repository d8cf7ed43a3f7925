"""Logs and request ids, independent of any framework."""
