"""Logs, ids and numbers, free of any framework."""
