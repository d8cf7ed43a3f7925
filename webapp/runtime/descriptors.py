"""The limit of open files and sockets of a process."""

import resource

RESERVE = 100  # For the database, providers, files and pipes.
FEW = 1_024
USEFUL = 65_536


def raise_limit() -> None:
    """Raise the soft limit as far as it is useful and allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = USEFUL if hard == resource.RLIM_INFINITY else min(USEFUL, hard)
    if soft != resource.RLIM_INFINITY and soft < target:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))


def limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return USEFUL if soft == resource.RLIM_INFINITY else soft


def available() -> int:
    """Return how many connections a worker can accept."""
    return max(limit() - RESERVE, 20)


def are_few() -> bool:
    return limit() < FEW


def warnings() -> list[str]:
    """Return a warning if this process has few descriptors even though it raised its limit."""
    if not are_few():
        return []
    return [
        f"Only {limit()} files and connections can be open at once, so each connection ends after one response. Raise it: ulimit -n 4096"
    ]
