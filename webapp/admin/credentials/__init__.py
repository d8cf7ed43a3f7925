"""Provider keys."""
