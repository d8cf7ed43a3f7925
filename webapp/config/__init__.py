"""Settings: read once from the environment, validated and immutable."""
