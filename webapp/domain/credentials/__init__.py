"""The selection of a key for a caller and a provider, and the keys of the environment."""
