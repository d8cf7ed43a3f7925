"""Detection of weak secrets: published in documentation or images, or made of placeholder words."""

import re

MIN_CHARACTERS = 12  # The minimum length after placeholder words, sequences and repetitions are removed.
# These look random, but they are public.
PUBLISHED_SECRETS = frozenset(
    value.lower()
    for value in (
        "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",  # Flask's documentation
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",  # FastAPI's documentation
        "9jsrJd2WSfIiuMmoYfeeL6RRAu1z68+Cox9VdwtrwtgaZsvRiShPJpDh",  # Superset's images
        "a25mQ1FHTUh3MnFRSk5KMEIyVVU2YmN0VGRyYTVXY08=",  # Airflow's compose files
        "46BKJoQYlPPOexq0OhDZnIlNepKFf87WFwLbfzqDDho=",  # Airflow's compose files, the Fernet key
        "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=",  # the Fernet specification
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",  # AWS's documentation
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
    """Return whether a reader of public examples could guess this secret."""
    return secret.lower() in PUBLISHED_SECRETS or len(_strip_placeholders(secret.lower())) < MIN_CHARACTERS


def _strip_placeholders(text: str) -> str:
    """Return the text without placeholder words, sequences and repetitions."""
    words = _PLACEHOLDER.sub("", re.sub(r"[^a-z0-9]", "", text))
    return _REPEATED.sub(
        r"\1", "".join(character for index, character in enumerate(words) if not _is_sequential(words[max(index - 1, 0) : index + 1]))
    )


def _is_sequential(pair: str) -> bool:
    """Return whether two characters are neighbors in a sequence, in either direction."""
    return len(pair) == 2 and any(pair in sequence or pair[::-1] in sequence for sequence in _SEQUENCES)
