"""Usage that applications report."""
