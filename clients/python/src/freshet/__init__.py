"""Reads through a Freshet sidecar, and past it when it is down.

    client = freshet.Client()
    product = client.get_or_load("products", 7, lambda fill: read(7)).value

Whatever becomes of the sidecar, the loader is called and its value returned: nothing here raises because of the cache.
"""

from ._answer import Answer
from ._codec import BYTES, JSON, Codec
from ._flow import Fill
from ._keys import query_key, row, table, tag
from .aio import AsyncClient
from .client import Client

__all__ = ["BYTES", "JSON", "Answer", "AsyncClient", "Client", "Codec", "Fill", "query_key", "row", "table", "tag"]
