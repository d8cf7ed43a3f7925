"""CSV cells that spreadsheets do not run as formulas and that read back unchanged."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from webapp.domain.shared.errors import Malformed, quote_text

MAX_CELL_LENGTH = 120_000
# Text that a spreadsheet would run as a formula. An apostrophe is added in front, even if the text already starts with one.
# So an import can tell which apostrophe the export added.
_FORMULA_START = re.compile("'*[=+\\-@\t\r＝＋－＠]")


_SEPARATOR_LINE = re.compile(r'"?sep=([,;|\t])"?[,;|\t]*(?:\r\n|[\r\n]|$)', re.IGNORECASE)
_SEPARATORS = ",;\t"


class CsvRow(NamedTuple):
    """One row of a file: the number of its first line, and its cells by column."""

    line: int
    cells: Mapping[str, str]


def escape_formula(text: str) -> str:
    return f"'{text}" if _FORMULA_START.match(text) else text


def unescape_formula(text: str) -> str:
    return text[1:] if text.startswith("'") and _FORMULA_START.match(text) else text


def write_csv(columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> str:
    """Return the text of a CSV file. The same rows always give the same text."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([escape_formula(row[column]) for column in columns] for row in rows)
    return text.getvalue()


def read_csv(text: str) -> tuple[list[str], list[CsvRow]]:
    """Return the columns and every row that is not empty. `separator_of` defines the separator. Raises `Malformed`."""
    table, is_stated = _without_separator_line(text)
    reader = csv.reader(io.StringIO(table, newline=""), delimiter=separator_of(text), strict=True)
    columns: list[str] | None = None
    rows: list[CsvRow] = []
    first_line = 2 if is_stated else 1
    line = first_line
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                if columns is None:
                    columns = [cell.strip() for cell in cells]
                else:
                    rows.append(_parse_row(columns, cells, line))
            line = reader.line_num + first_line
    except csv.Error as error:
        raise Malformed(f"Line {line}: this is not CSV: {error}.") from None
    if columns is None:
        raise Malformed("Line 1: the file is empty. Its first line must name the columns.")
    return columns, rows


def separator_of(text: str) -> str:
    """Return the separator of the cells: the one in a first line such as `sep=;`, or the most frequent one in the header."""
    clean = text.removeprefix("\ufeff")
    if stated := _SEPARATOR_LINE.match(clean):
        return stated[1]
    header = next((line for line in io.StringIO(clean, newline=None) if line.strip()), "")
    return max(_SEPARATORS, key=header.count)


def _without_separator_line(text: str) -> tuple[str, bool]:
    """Return the text after a line such as `sep=;`, and whether it had one."""
    clean = text.removeprefix("\ufeff")
    stated = _SEPARATOR_LINE.match(clean)
    return (clean[stated.end() :], True) if stated else (clean, False)


def _parse_row(columns: Sequence[str], cells: Sequence[str], line: int) -> CsvRow:
    if len(cells) != len(columns):
        count = f"{len(cells)} cell{'s' if len(cells) != 1 else ''} and {len(columns)} columns"
        raise Malformed(f"Line {line}: {count}. Put a cell that holds the separator or a quote into double quotes.")
    if oversized := [column for column, cell in zip(columns, cells, strict=True) if len(cell) > MAX_CELL_LENGTH]:
        raise Malformed(f"Line {line}: the cell {quote_text(oversized[0], 40)} is too long.")
    return CsvRow(line, {column: unescape_formula(cell) for column, cell in zip(columns, cells, strict=True)})
