"""Keys: columns as a path, and queries as a key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Union
from urllib.parse import quote
from uuid import UUID

Column = Union[str, int, bool, UUID]
Key = Union[Column, Iterable[Column]]

INTEGERS = range(-(2**63), 2**63)
"""What a parameter may be: what 64 bits hold with a sign."""


def path(cache: str, key: Key) -> str | None:
    """The path of a key, one segment per column; `None` where a column's text isn't Unicode."""
    try:
        escaped = [quote(column, safe="") for column in _texts(key)]
        name = quote(cache, safe="")
    except UnicodeEncodeError:
        return None
    if escaped and escaped[0].startswith("_"):
        escaped[0] = "%5F" + escaped[0][1:]
    return "/".join(["/v1", name, *escaped])


def segments(key: Key) -> list[str] | None:
    """A key's columns as texts, not encoded; `None` where one isn't Unicode."""
    texts = _texts(key)
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return None
    return texts


def table(name: str) -> str:
    """A dependency on all of a table, by the name that the binding has: `inventory.product`."""
    return quote(name, safe="")


def row(name: str, *columns: Column) -> str:
    """A dependency on a row, by its key's columns in the order of the table's change events."""
    return "/".join([table(name), *(quote(_text(column), safe="") for column in columns)])


def tag(text: str) -> str:
    """A dependency on what `invalidate_tag` says."""
    return "tag:" + quote(text, safe="")


def query_key(text: str, params: Iterable[str | int | bool | None] = ()) -> str:
    """The key of a whole query: `q-` and 32 hexadecimal digits, alike in all of Freshet's clients.

    Parameters are texts, integers of 64 bits, booleans and `None`; others raise `TypeError` or `ValueError`.
    """
    items = [text, *params]
    for item in items:
        if not isinstance(item, (str, int, type(None))):
            raise TypeError(f"a query's parameters are texts, integers, booleans and None, not {type(item).__name__}")
        if isinstance(item, int) and item not in INTEGERS:
            raise ValueError(f"a query's integers have 64 bits, unlike {item}")
    canonical = json.dumps(items, ensure_ascii=False, separators=(",", ":"))
    return "q-" + hashlib.sha256(canonical.encode()).hexdigest()[:32]


def _texts(key: Key) -> list[str]:
    columns = [key] if isinstance(key, (str, int, UUID)) else key
    return [_text(column) for column in columns]


def _text(column: Column) -> str:
    if isinstance(column, bool):
        return "true" if column else "false"
    if isinstance(column, (str, int, UUID)):
        return str(column)
    raise TypeError(f"a key's columns are texts, integers, booleans and UUIDs, not {type(column).__name__}")
