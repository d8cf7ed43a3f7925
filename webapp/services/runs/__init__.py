"""Runs, evaluations, prompt templates, saved incidents, cached responses and connection tests."""
