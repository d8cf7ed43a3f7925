"""The seed, backups, and the move to another database."""
