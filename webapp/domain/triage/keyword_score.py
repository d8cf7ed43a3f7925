"""Scores of an incident's keywords by kind of problem. Matches are whole words in any case; `DiskSpaceLow` reads as three words."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from webapp.domain.incidents.incidents import Incident

# Kind of problem -> the words and phrases that indicate it. A phrase is used where one word would be ambiguous ("load").
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
_PATHS = re.compile(r"(?<!\S)/[^\s]+")  # A path such as `/var/lib/postgresql` is a location, not a symptom.
_PATTERNS = {kind: re.compile(rf"(?<![\w-])(?:{terms})(?![\w-])", re.IGNORECASE) for kind, terms in TERMS.items()}
_WEIGHTS = {"title": 4, "name": 3, "description": 2}


@dataclass(frozen=True, slots=True)
class Evidence:
    """The words that indicate one kind of problem, by their field."""

    kind: str
    score: int = 0
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def split_identifiers(text: str) -> str:
    """Return names as words: `NodeDiskFull` and `node_disk_full`.

    Hyphens stay, because the `db` of `db-primary` is a name and not a symptom.
    """
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", text)
    return spaced.replace("_", " ")


def matching_words(kind: str, text: str) -> tuple[str, ...]:
    """Return the words of a kind in a text, in lower case, without duplicates."""
    words = [match.group().lower() for version in (text, split_identifiers(text)) for match in _PATTERNS[kind].finditer(version)]
    return tuple(dict.fromkeys(words))


def match_positions(kind: str, text: str) -> list[int]:
    """Return the positions of the words of a kind."""
    return [match.start() for match in _PATTERNS[kind].finditer(text)]


def incident_texts(incident: Incident) -> Iterator[tuple[str, str]]:
    """Yield the texts that describe the problem, each with the path of its field."""
    yield "title", incident.title
    yield "description", incident.description
    for index, alert in enumerate(incident.alerts):
        yield f"alerts[{index}].name", alert.name.replace("-", " ")
        yield f"alerts[{index}].description", alert.description


def score_keywords(incident: Incident) -> list[Evidence]:
    """Return the kinds of problem that the words indicate, highest score first."""
    scored = (_score_kind(kind, incident) for kind in KINDS)
    return sorted((evidence for evidence in scored if evidence.score), key=lambda evidence: -evidence.score)


def _score_kind(kind: str, incident: Incident) -> Evidence:
    words: dict[str, tuple[str, ...]] = {}
    best: dict[str, int] = {}
    for path, text in incident_texts(incident):
        if matches := matching_words(kind, _PATHS.sub(" ", text)):
            words[path] = matches
            weight = _WEIGHTS[path.rsplit(".", 1)[-1]]
            # Repetition in many alerts is no additional evidence. Each word counts once, in the field with the highest weight.
            best |= {word: max(weight, best.get(word, 0)) for word in matches}
    return Evidence(kind, sum(best.values()), words)
