"""Providers and models: entities, resolution of names, the snapshot, validation, serialization and comparison."""
