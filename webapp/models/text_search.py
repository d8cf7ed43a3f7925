"""Case-insensitive search that follows the same rules on SQLite and PostgreSQL: those of `str.casefold`, as in searches without SQL."""

from typing import Any

from sqlalchemy import ColumnElement, String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

SQLITE_FUNCTION = "casefold"
CASEFOLD_SINCE = (18,)


class CaseFolded(FunctionElement[str]):
    """The text of one column, case-folded."""

    type = String()
    inherit_cache = True


@compiles(CaseFolded, "sqlite")
def _on_sqlite(element: CaseFolded, compiler: SQLCompiler, **options: Any) -> str:
    return f"{SQLITE_FUNCTION}({compiler.process(element.clauses, **options)})"


@compiles(CaseFolded, "postgresql")
def _on_postgresql(element: CaseFolded, compiler: SQLCompiler, **options: Any) -> str:
    column = compiler.process(element.clauses, **options)
    if (compiler.dialect.server_version_info or ()) >= CASEFOLD_SINCE:
        return f"casefold(({column}) COLLATE pg_unicode_fast)"
    # Older servers have no case folding. These letters are the ones in everyday texts that lower() leaves different.
    return f"translate(replace(lower({column}), 'ß', 'ss'), 'ςſ', 'σs')"


def contains_text(column: Any, text: str) -> ColumnElement[bool]:
    """Return the condition for rows whose column contains the text, which is taken literally. Case is ignored in every script."""
    return CaseFolded(column).contains(text.casefold(), autoescape=True)


def fold_case(value: object) -> str | None:
    """Return the case-folded text; SQLite calls this function."""
    return None if value is None else str(value).casefold()
