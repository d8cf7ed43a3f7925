"""Which kinds of trouble an incident's words tell of: whole words, any case; `DiskSpaceLow` reads as three."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from webapp.domain.incidents.incidents import Incident

# A kind of trouble -> the words and phrases that tell of it. A phrase stands where one word would be ambiguous ("load").
TERMS: Mapping[str, str] = {
    "memory": r"memory|mem|ram|oom|oom ?killed|oom ?killer|out[ -]of[ -]memory|heap|swap(?:ping)?|memory leak",
    "disk": r"disks?|disk space|storage|file ?systems?|inodes?|no space left|space left|free space|volume(?: is)? full"
    r"|disk quota|(?<!api )(?<!rate )(?<!request )(?<!token )(?<!cpu )(?<!memory )quota|enospc",
    "cpu": r"cpus?|processors?|throttl(?:ed|ing)|load averages?|load avg|(?:high|cpu|system|node|server|host) load|load(?:1|5|15)"
    r"|compute bound|load (?:is |at |of |above |over )+\d+(?:\.\d+)?",
    "process": r"process(?:es)?|crash(?:ed|es|ing)?|crash[ -]?loop(?:ing)?|crash ?loop ?back ?off|segfaults?|segmentation fault"
    r"|core dump(?:ed)?|zombies?|restarts|restarting|restarted|exit code|service (?:is )?down|not running|systemd|deadlock",
    "network": r"networks?|network latency|latency|packet loss|packets|dns|resolver|nxdomain|tls|ssl|certificates?|x509|handshake"
    r"|timeouts?|timed out|connection (?:refused|reset)|unreachable|bandwidth|firewall|jitter|mtu|5xx|gateway",
    "database": r"databases?|db|postgres(?:ql)?|mysql|mariadb|mongodb|redis|sql|replication(?: lag)?|replica lag|read replicas?|standby"
    r"|deadlocks?|slow quer(?:y|ies)|connection pool|too many connections|max connections|vacuum|wal",
}

KINDS = tuple(TERMS)
_PATHS = re.compile(r"(?<!\S)/[^\s]+")  # `/var/lib/postgresql` says where, not what.
_PATTERNS = {kind: re.compile(rf"(?<![\w-])(?:{terms})(?![\w-])", re.IGNORECASE) for kind, terms in TERMS.items()}
_WEIGHTS = {"title": 4, "name": 3, "description": 2}


@dataclass(frozen=True, slots=True)
class Evidence:
    """The words that tell of one kind, by the field they were found in."""

    kind: str
    score: int = 0
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def split_identifiers(text: str) -> str:
    """Names as words: `NodeDiskFull` and `node_disk_full`. Hyphens stay: the `db` of `db-primary` is a name, not a symptom."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", text)
    return spaced.replace("_", " ")


def matching_words(kind: str, text: str) -> tuple[str, ...]:
    """The words of a kind in a text, in lower case, each once."""
    found = [match.group().lower() for version in (text, split_identifiers(text)) for match in _PATTERNS[kind].finditer(version)]
    return tuple(dict.fromkeys(found))


def match_positions(kind: str, text: str) -> list[int]:
    """Where the words of a kind stand."""
    return [match.start() for match in _PATTERNS[kind].finditer(text)]


def incident_texts(incident: Incident) -> Iterator[tuple[str, str]]:
    """The texts that tell what is wrong, each with the path of its field."""
    yield "title", incident.title
    yield "description", incident.description
    for index, alert in enumerate(incident.alerts):
        yield f"alerts[{index}].name", alert.name.replace("-", " ")
        yield f"alerts[{index}].description", alert.description


def score_keywords(incident: Incident) -> list[Evidence]:
    """The kinds that the words tell of, the best founded first."""
    weighed = (_score_kind(kind, incident) for kind in KINDS)
    return sorted((evidence for evidence in weighed if evidence.score), key=lambda evidence: -evidence.score)


def _score_kind(kind: str, incident: Incident) -> Evidence:
    words: dict[str, tuple[str, ...]] = {}
    best: dict[str, int] = {}
    for path, text in incident_texts(incident):
        if found := matching_words(kind, _PATHS.sub(" ", text)):
            words[path] = found
            weight = _WEIGHTS[path.rsplit(".", 1)[-1]]
            # Said three times in fifty alerts is not three times as true: each word counts once, where it weighs most.
            best |= {word: max(weight, best.get(word, 0)) for word in found}
    return Evidence(kind, sum(best.values()), words)
