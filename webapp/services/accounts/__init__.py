"""Users, sign-ins, the second factor, API tokens, and the sign-in throttle."""
