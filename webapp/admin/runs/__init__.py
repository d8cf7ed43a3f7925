"""Try it, runs, evaluations and prompt templates."""
