"""Import and export of the registry: files, drafts, rows, YAML and CSV."""
