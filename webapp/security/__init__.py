"""Guards, free of any framework."""
