"""Reads through a Freshet sidecar, and past it when it is down.

    client = freshet.Client()
    product = client.get_or_load("products", 7, lambda fill: read(7)).value

Whatever becomes of the sidecar, the loader is called and its value returned: no read raises because of the cache. What
can't be published raises a `PublishError`.
"""

from ._answer import Answer
from ._codec import BYTES, CBOR, JSON, Codec
from ._flow import Fill
from ._keys import query_key, row, table, tag
from ._publish import (
    Published,
    PublishError,
    PublishMistake,
    PublishRefused,
    PublishUnavailable,
    PublishUnknown,
    Value,
)
from .aio import AsyncClient
from .client import Client

__all__ = [
    "BYTES",
    "CBOR",
    "JSON",
    "Answer",
    "AsyncClient",
    "Client",
    "Codec",
    "Fill",
    "PublishError",
    "PublishMistake",
    "PublishRefused",
    "PublishUnavailable",
    "PublishUnknown",
    "Published",
    "Value",
    "query_key",
    "row",
    "table",
    "tag",
]
