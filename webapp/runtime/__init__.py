"""Shared runtime of requests, commands and threads: the container, the transaction, and the runs of incidents and evaluations."""
