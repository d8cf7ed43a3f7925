"""Export and import of the registry as a file."""
