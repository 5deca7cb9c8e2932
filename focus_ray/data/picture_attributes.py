"""Attributes of photographs: a CSV file with the column name and columns of yes and no.

The package has those of the portraits to choose and to report on (portrait_attributes.csv), judged by eye: glasses,
beard (or moustache), fringe (hair that covers the forehead down to the brows, or half of it), and open: the portraits
whose false alarms are measured, which have none of the three and a free forehead. Of 92 such portraits in colour to
report on, 60 are open, at equal distances in the order of their names.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from focus_ray.errors import DataError, printable
from focus_ray.geometry.mesh_reader import read_limited_bytes

PORTRAIT_ATTRIBUTES = Path(__file__).with_name("portrait_attributes.csv")
OPEN_FACE = "open"
"""Column of the photographs of open faces, of which false alarms are measured."""

_NAME, _YES, _NO = "name", "yes", "no"
_MEGABYTES = 16.0

Attributes = Mapping[str, Mapping[str, bool]]
"""By the name of a photograph: whether it has each attribute."""


def read_attributes(path: Path = PORTRAIT_ATTRIBUTES) -> Attributes:
    """Read a file of attributes.

    Args:
        path: CSV file with a header: name, and any other columns, of yes and no.

    Returns:
        Attributes by photograph, in the order of the file.

    Raises:
        DataError: the file is missing, too large or not text, lacks the column name or another one, or a line has
            another number of values, a repeated name or a value that is neither yes nor no.
    """
    try:
        reader = csv.reader(io.StringIO(read_limited_bytes(path, _MEGABYTES).decode("utf-8-sig"), newline=""))
        header = [title.strip() for title in next(reader, [])]
        lines = [(reader.line_num, [value.strip() for value in line]) for line in reader if any(line)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: the attributes cannot be read as text ({error}); write them as CSV") from None
    if _NAME not in header or len(header) < 2 or len(set(header)) < len(header) or not all(header):
        raise DataError(
            f"{path}: the first line is not a list of different titles with {_NAME} and an attribute; "
            "write for example name,glasses,beard"
        )
    found: dict[str, dict[str, bool]] = {}
    for number, values in lines:
        name, attributes = _parse_line(f"{path}, line {number}", header, values)
        if name in found:
            raise DataError(f"{path}, line {number}: {printable(name)} has a line already; keep one of them")
        found[name] = attributes
    if not found:
        raise DataError(f"{path}: there are no photographs in the file; write a line for each")
    return found


def find_attributes(names: Iterable[str], path: Path | None) -> Attributes:
    """Return the attributes of photographs.

    Args:
        names: names of the photographs.
        path: file of attributes, with a line for each photograph; None: those of the package, if all photographs are
            portraits to choose or to report on.

    Returns:
        Attributes by photograph, also of others; empty if nothing is known of one of them.

    Raises:
        DataError: the file cannot be used or lacks a photograph.
    """
    wanted = set(names)
    if path is None:
        portraits = read_attributes(PORTRAIT_ATTRIBUTES)
        return portraits if wanted <= portraits.keys() else {}
    attributes = read_attributes(path)
    require_attributes(attributes, wanted, path)
    return attributes


def select_open(names: Iterable[str], attributes: Attributes) -> list[str] | None:
    """Return the photographs that are marked as open faces, in the same order.

    Args:
        names: names of the photographs.
        attributes: attributes by photograph.

    Returns:
        Their names; None if no attribute of these photographs says whose face is open.
    """
    marks = {name: mark for name in names if (mark := attributes.get(name, {}).get(OPEN_FACE)) is not None}
    return [name for name, mark in marks.items() if mark] if marks else None


def require_attributes(attributes: Attributes, names: Iterable[str], path: Path) -> None:
    """Check that photographs have attributes.

    Args:
        attributes: attributes by photograph.
        names: names of the photographs.
        path: file of the attributes, for the message.

    Raises:
        DataError: a photograph has none.
    """
    wanted = sorted(set(names))
    missing = [name for name in wanted if name not in attributes]
    if missing:
        raise DataError(
            f"{path}: {len(missing)} of {len(wanted)} photographs have no line (first: {printable(missing[0])}); "
            "add them, with the names of the landmark file"
        )


def _parse_line(where: str, header: list[str], values: list[str]) -> tuple[str, dict[str, bool]]:
    if len(values) != len(header):
        raise DataError(f"{where}: {len(values)} values instead of {len(header)}; write one for each title")
    line = dict(zip(header, values, strict=True))
    name = line.pop(_NAME)
    for title, value in line.items():
        if value not in (_YES, _NO):
            raise DataError(f"{where}: {printable(title)} is {printable(value[:40])!r}; write {_YES} or {_NO}")
    return name, {title: value == _YES for title, value in line.items()}
