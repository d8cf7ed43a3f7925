"""Which key a caller can use for a provider, and the keys of the environment."""
