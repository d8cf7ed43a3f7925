"""Names of processes, with which a job worker detects that the owner of a job on the same machine has ended."""

import os
import socket
from functools import cache
from pathlib import Path

PROC = Path("/proc")


def process_name(pid: int | None = None) -> str:
    """Return `place|pid|start` of a process, by default this one. The start tells processes with the same pid apart."""
    pid = os.getpid() if pid is None else pid
    return f"{_place()}|{pid}|{_start_time(pid) or ''}"


def has_ended(name: str) -> bool:
    """Return whether the process has certainly ended. Where that cannot be known, only the end of its lease counts."""
    place, pid, start = [*name.split("|"), "", ""][:3]
    if place != _place() or not start or not pid.isdigit():
        return False
    return _start_time(int(pid)) != start


@cache
def _place() -> str:
    """Return the name of this host, of its boot and of its process namespace. Pids mean nothing elsewhere."""
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        namespace = os.stat(PROC / "self/ns/pid").st_ino
    except OSError:
        return socket.gethostname()
    return f"{socket.gethostname()}/{boot}/{namespace}"


def _start_time(pid: int) -> str | None:
    """Return the start time of a running process as the kernel counts it, or None."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
