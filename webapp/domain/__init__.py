"""The rules of the desk, pure: the standard library only, no I/O, every moment is an argument."""
