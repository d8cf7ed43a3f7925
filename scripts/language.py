"""Checks names and prose against the ban list in docs/language.md: `python scripts/language.py [SCOPE] [PATH ...]` lists the hits."""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/language.md"
CODE = ("webapp", "tests", "bench", "scripts", "migrations/env.py", "wsgi.py")
Ban = tuple[re.Pattern[str], str]


class Hit(NamedTuple):
    """A banned word: where it is, the text that matched, and what to write instead."""

    path: str
    line: int
    text: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text!r} -> {self.instead}"


def load_bans(page: str) -> tuple[dict[str, list[Ban]], list[str]]:
    """Return the bans by scope, and the sentences that must pass."""
    block = page.split("```banlist\n", 1)[1].split("```", 1)[0]
    bans: dict[str, list[Ban]] = {}
    good: list[str] = []
    scope = ""
    for line in block.splitlines():
        if re.fullmatch(r"\[[a-z]+\]", line):
            scope = line[1:-1]
        elif scope == "good":
            good.append(line)
        else:
            expression, replacement = line.split(" :: ", 1)
            bans.setdefault(scope, []).append((re.compile(expression), replacement))
    return bans, good


BANS, GOOD = load_bans(PAGE.read_text())


def python_files(paths: Iterable[str]) -> Iterator[Path]:
    for path in map(ROOT.joinpath, paths):
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def bound_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Names that a module binds, with their lines. Parameters of special methods are exempt: Python names those."""
    special = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and re.fullmatch(r"__\w+__", node.name)]
    exempt = {id(argument) for function in special for argument in ast.walk(function.args)}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg) and id(node) not in exempt:
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.lineno, node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((node.lineno, alias.asname) for alias in node.names if alias.asname)


def identifier_hits(paths: Iterable[str] = ("webapp",)) -> Iterator[Hit]:
    for file in python_files(paths):
        where = file.relative_to(ROOT).as_posix()
        names = [(1, file.stem), *bound_names(ast.parse(file.read_text()))]
        for line, name in sorted(names):
            yield from (Hit(where, line, name, instead) for ban, instead in BANS["identifiers"] if ban.fullmatch(name.lstrip("_")))


def docstring_nodes(tree: ast.Module) -> dict[int, ast.Constant]:
    """The docstrings of a module, by the id of their node."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    first = (node.body[0] for node in ast.walk(tree) if isinstance(node, documented) and node.body)
    texts = (node.value for node in first if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    return {id(text): text for text in texts if isinstance(text.value, str)}


def prose_of_code(source: str) -> Iterator[tuple[int, str]]:
    """Docstrings and comments."""
    for node in docstring_nodes(ast.parse(source)).values():
        yield node.lineno, str(node.value)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def messages_of_code(source: str) -> Iterator[tuple[int, str]]:
    """Strings that read like sentences: what pages, commands and the API show."""
    tree = ast.parse(source)
    docstrings = docstring_nodes(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings and " " in node.value.strip():
            yield node.lineno, node.value


def visible_text(markup: str) -> str:
    """The text of a template or a document: code and tags are blanked, an expression ends in a digit, lines are kept."""
    code = r"```.*?```|`[^`\n]*`|\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}|<[^>]*>|\]\([^)]*\)"
    return re.sub(code, lambda match: _blank(match.group()), markup, flags=re.DOTALL)


def _blank(code: str) -> str:
    blank = re.sub(r"[^\n]", " ", code)
    return f"{blank[:-1]}0" if code.startswith("{{") else blank


def search(text: str, where: str, line: int, scopes: Iterable[str]) -> Iterator[Hit]:
    clean = re.sub(r"`[^`]*`", "", text)
    for scope in scopes:
        for ban, instead in BANS[scope]:
            for match in ban.finditer(clean):
                yield Hit(where, line + clean.count("\n", 0, match.start()), match.group(), instead)


def prose_hits(paths: Iterable[str] = CODE) -> Iterator[Hit]:
    """Banned words in docstrings and comments."""
    for file in python_files(paths):
        for line, text in prose_of_code(file.read_text()):
            yield from search(text, file.relative_to(ROOT).as_posix(), line, ["prose"])


def text_hits() -> Iterator[Hit]:
    """Banned words in what users read: templates, messages and documents."""
    for file in python_files(["webapp"]):
        for line, text in messages_of_code(file.read_text()):
            yield from search(text, file.relative_to(ROOT).as_posix(), line, ["prose", "text"])
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "templates").rglob("*.html")]
    for file in sorted(documents):
        if file != PAGE:
            yield from search(visible_text(file.read_text()), file.relative_to(ROOT).as_posix(), 1, ["prose", "text"])


def main(scope: str = "all", *paths: str) -> None:
    hits: list[Hit] = []
    if scope in ("all", "identifiers"):
        hits += identifier_hits(paths or ("webapp",))
    if scope in ("all", "prose"):
        hits += prose_hits(paths or CODE)
    if scope == "text":
        hits += [hit for hit in text_hits() if not paths or hit.path.startswith(paths)]
    print(*hits, f"{len(hits)} hits", sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
