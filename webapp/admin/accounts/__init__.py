"""Users, API tokens, your account and the second factor."""
