"""Settings: read once from the environment, checked, then frozen."""
