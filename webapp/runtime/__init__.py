"""What requests, commands and threads share: the container, the transaction, and the runs of incidents and evaluations."""
