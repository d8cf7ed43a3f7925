"""Runs of incidents."""
