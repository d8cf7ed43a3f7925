"""Detection of network file systems, on which SQLite's locks and shared memory do not work reliably."""

from collections.abc import Iterator
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")  # Linux only.
NETWORK_TYPES = frozenset(
    (
        "afs",
        "ceph",
        "cifs",
        "davfs",
        "fuse.glusterfs",
        "fuse.s3fs",
        "fuse.sshfs",
        "glusterfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "smb3",
        "smbfs",
    )
)


def find_network_type(path: Path, mounts: Path = MOUNTS) -> str | None:
    """Return the type of the network file system that holds this path. None if it is on a local one, or if that is unknown."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    place = path.resolve()
    # Of several mounts at one place, the last one is visible.
    holding = [(len(point.parts), number, kind) for number, (point, kind) in enumerate(_parse_mounts(lines)) if place.is_relative_to(point)]
    kind = max(holding)[2] if holding else None
    return kind if kind in NETWORK_TYPES else None


def _parse_mounts(lines: list[str]) -> Iterator[tuple[Path, str]]:
    """Yield the place and the type of each mount. The kernel writes spaces and some other characters as octal numbers."""
    for line in lines:
        place, _, description = line.partition(" - ")
        point = place.split(" ")[4]
        for character in " \t\n\\":
            point = point.replace(f"\\{ord(character):03o}", character)
        yield Path(point), description.split(" ")[0]
