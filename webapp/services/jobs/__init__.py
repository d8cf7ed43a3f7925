"""Background jobs: the queue, and what pages and monitoring show of it."""
