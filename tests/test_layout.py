"""Rules for the layout and the names of the code that import-linter and ruff cannot state."""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from webapp.config.settings import ROOT

MAX_MODULES, MAX_PLACES = 20, 4
MODULES = {path.relative_to(ROOT): ast.parse(path.read_text()) for path in sorted((ROOT / "webapp").rglob("*.py"))}
COMMON_VERBS = {"find", "create", "delete", "init_app", "build"}
# The row of a table and the value of the domain that is read from it share a name.
ROW_AND_VALUE = {"Price"}
# Module names that end in -ing and are nouns all the same.
NOUNS = {"pricing", "planning", "parsing", "costing", "loading", "repricing", "templating"}


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_no_folder_holds_more_modules_than_a_reader_can_take_in():
    sizes = Counter(path.parent.as_posix() for path in MODULES if path.name != "__init__.py")
    assert {folder: size for folder, size in sizes.items() if size > MAX_MODULES} == {}


def test_every_package_says_what_is_in_it():
    packages = {path.parent for path in MODULES}
    assert [str(package) for package in packages if not ast.get_docstring(MODULES[package / "__init__.py"])] == []


def test_only_the_adapter_imports_flask_admin_except_for_expose():
    imports = [
        (path.as_posix(), node.module, alias.name)
        for path, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "flask_admin"
        for alias in node.names
        if alias.name != "expose"
    ]
    assert imports
    assert {path for path, _, _ in imports} == {"webapp/admin/core/flask_admin_adapter.py"}


def test_class_names_are_unique():
    places = defaultdict(set)
    for path, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].add(path.as_posix())
    assert {name: found for name, found in places.items() if len(found) > 1 and name not in ROW_AND_VALUE} == {}


def test_no_function_name_stands_in_more_than_four_modules():
    places = Counter(name for tree in MODULES.values() for name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)})
    assert {name: count for name, count in places.items() if count > MAX_PLACES and name not in COMMON_VERBS} == {}


def is_tuple_of_unlike_things(annotation: ast.expr | None) -> bool:
    """`tuple[int, str]` itself, or as one of several possibilities; `tuple[str, ...]` and sequences of pairs are data and fine."""
    if isinstance(annotation, ast.BinOp):
        return is_tuple_of_unlike_things(annotation.left) or is_tuple_of_unlike_things(annotation.right)
    if not (isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) in ("tuple", "Tuple")):
        return False
    parts = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
    return not any(isinstance(part, ast.Constant) and part.value is Ellipsis for part in parts)


def test_no_parameter_is_a_tuple_of_unlike_things():
    hits = [
        f"{path}:{node.lineno} {argument.arg}"
        for path, tree in MODULES.items()
        for node in functions(tree)
        for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        if is_tuple_of_unlike_things(argument.annotation)
    ]
    assert hits == []


@pytest.mark.parametrize(
    ("annotation", "hit"),
    [("tuple[int, str]", True), ("tuple[int, str] | None", True), ("tuple[str, ...]", False), ("Iterable[tuple[str, str]]", False)],
)
def test_the_rule_for_tuples_knows_them(annotation, hit):
    assert is_tuple_of_unlike_things(ast.parse(annotation, mode="eval").body) is hit


def test_module_names_are_nouns():
    assert [str(path) for path in MODULES if path.stem.endswith("ing") and path.stem not in NOUNS] == []


def test_limits_are_called_max():
    names = {
        node.id
        for tree in MODULES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and re.match(r"_?(MOST|LONGEST|LARGEST|BIGGEST)(_|$)", node.id)
    }
    assert names == set()


def test_templates_have_lines_that_fit_on_a_screen():
    templates: list[Path] = sorted((ROOT / "templates").rglob("*.html"))
    assert templates
    assert [
        f"{path}:{number}" for path in templates for number, line in enumerate(path.read_text().splitlines(), 1) if len(line) > 200
    ] == []


def test_exceptions_to_the_lint_are_rare():
    texts = [path.read_text() for path in (ROOT / "webapp").rglob("*.py")]
    lines = sum(text.count("\n") for text in texts)
    assert sum(text.count("# noqa") for text in texts) / (lines / 1000) <= 0.5
    assert sum(text.count("# fmt: skip") for text in texts) < 20
