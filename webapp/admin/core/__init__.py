"""What all views share: the Flask-Admin adapter, guarded views, lists, fields, filters, formatters and edit conflicts."""
