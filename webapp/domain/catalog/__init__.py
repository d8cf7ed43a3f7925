"""Providers and models: entities, name resolution, the snapshot, validation, serialization and comparison."""
