"""Models and providers: reading, listing and managing."""
