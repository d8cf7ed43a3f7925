"""Endpoints for runs of incidents."""
