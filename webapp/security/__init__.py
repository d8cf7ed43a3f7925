"""Security primitives that depend on no framework."""
