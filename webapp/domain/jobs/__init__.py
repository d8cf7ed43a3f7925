"""Background jobs: their states, leases, retries and progress."""
