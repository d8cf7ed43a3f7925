"""Users, sign-ins, the second factor, API tokens, and the limit of attempts to sign in."""
