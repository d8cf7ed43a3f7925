"""Provider keys: storing, access, endpoints, rotation, and the check of the encryption key."""
