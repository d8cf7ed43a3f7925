"""The built-in rules that analyze an incident without a model."""
