"""The seed, backups, and moving to another database."""
