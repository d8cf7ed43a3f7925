"""Checks commit messages: `check_commits.py FILE` is the commit-msg hook, `check_commits.py --since REVISION` looks at the history."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from language import BANS

MAX_SUBJECT = 72
NOT_IMPERATIVE = re.compile(r"(Added|Adds|Adding|Fixed|Fixes|Fixing|Changed|Changes|Changing|Removed|Removes|Removing|Updated|Updates)\b")


def problems(message: str) -> Iterator[str]:
    """What is wrong with a message. Lines of comments, as git writes them, do not count."""
    subject, _, body = "\n".join(line for line in message.splitlines() if not line.startswith("#")).strip().partition("\n")
    if subject.startswith(("Merge ", "Revert ", "fixup! ", "squash! ")):
        return
    if len(subject) > MAX_SUBJECT:
        yield f"the subject has {len(subject)} characters, at most {MAX_SUBJECT} are allowed"
    if NOT_IMPERATIVE.match(subject) or not subject[:1].isupper():
        yield "the subject must be an imperative that starts with a capital letter, such as `Add a price filter`"
    if not body.strip():
        yield "the body is empty: give the reason there"
    for ban, instead in BANS["commits"]:
        if (match := ban.search(subject)) and len(match.group()) <= MAX_SUBJECT:
            yield f"the subject contains {match.group()!r}: {instead}"


def messages_since(revision: str) -> list[tuple[str, str]]:
    """Commits after a revision as (id, message). Empty, with a notice, where the history does not reach that far back."""
    log = subprocess.run(["git", "log", "--format=%h%x00%B%x01", f"{revision}..HEAD"], capture_output=True, text=True)
    if log.returncode != 0:
        print(f"Commit messages were not checked: {revision} is not in this clone.")
        return []
    commits = [commit.strip().split("\0", 1) for commit in log.stdout.split("\1") if commit.strip()]
    return [(number, message) for number, message in commits]


def main(arguments: list[str]) -> int:
    if arguments[0] == "--since":
        messages = messages_since(arguments[1])
    else:
        messages = [("this commit", Path(arguments[0]).read_text(encoding="utf-8"))]
    lines = [f"{number}: {problem}" for number, message in messages for problem in problems(message)]
    print(*lines, sep="\n", end="\n" if lines else "")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
