"""Secrets that are none: those that documentation and images published, and those that are made of the words of a placeholder."""

import re

MIN_CHARACTERS = 12  # Characters that must be left when everything that says "change me" is gone, and rows and repetitions with it.
# Random to look at, and known to everybody.
PUBLISHED_SECRETS = frozenset(
    value.lower()
    for value in (
        "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",  # Flask's documentation
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",  # FastAPI's
        "9jsrJd2WSfIiuMmoYfeeL6RRAu1z68+Cox9VdwtrwtgaZsvRiShPJpDh",  # images of Superset
        "a25mQ1FHTUh3MnFRSk5KMEIyVVU2YmN0VGRyYTVXY08=",  # Airflow's compose files
        "46BKJoQYlPPOexq0OhDZnIlNepKFf87WFwLbfzqDDho=",  # likewise, the Fernet key
        "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=",  # the specification of Fernet
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",  # the documentation of AWS
    )
)
_PLACEHOLDER_WORDS = """
above admin airflow and any api app application apps at base64 be before bit bits byte bytes can change changed changeit changeme
changethis char characters chars complex cookie default deploy deployment dev development django do dummy encrypt encryption enter env
environment example fake fastapi fill fixme flask foobar for from generate generated guess hard hash hello here hex in insecure insert
is it jwt key keys least letmein like litellm live local localhost long lower master me min minimum modeldesk must my need never no not
of on one only or own pass passphrase password placeholder please private prod production put qwerty random randomly real replace root
safe salt sample secret secrets secure server session set should sign signing simple sk some something string strong super supersecret
superset temp temporary test testing tests text that the this to todo token try unique unsafe update use user value very webserver
welcome will with world you your
"""
_PLACEHOLDER = re.compile("|".join(sorted(_PLACEHOLDER_WORDS.split(), key=len, reverse=True)))
_REPEATED = re.compile(r"(.{1,16}?)\1+")
_SEQUENCES = ("abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiopasdfghjklzxcvbnm")


def is_weak(secret: str) -> bool:
    """Whether somebody who has read other people's settings would guess this."""
    return secret.lower() in PUBLISHED_SECRETS or len(_strip_placeholders(secret.lower())) < MIN_CHARACTERS


def _strip_placeholders(text: str) -> str:
    """What is nobody's placeholder, without order in it."""
    words = _PLACEHOLDER.sub("", re.sub(r"[^a-z0-9]", "", text))
    return _REPEATED.sub(
        r"\1", "".join(character for place, character in enumerate(words) if not _is_sequential(words[max(place - 1, 0) : place + 1]))
    )


def _is_sequential(pair: str) -> bool:
    """Whether the second of two characters is what comes after or before the first one in a row."""
    return len(pair) == 2 and any(pair in row or pair[::-1] in row for row in _SEQUENCES)
