"""Endpoints to read, list and manage models and providers."""
