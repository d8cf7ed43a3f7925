"""Shared parts of the admin views: the Flask-Admin adapter, base classes, lists, fields, filters, formatters and edit conflicts."""
