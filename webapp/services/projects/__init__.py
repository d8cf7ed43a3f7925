"""Projects and their overrides."""
