"""Usage reported by applications."""
