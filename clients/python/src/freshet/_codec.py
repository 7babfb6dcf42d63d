"""What is stored of a value."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Codec:
    """How values become bytes and back. `content_type` is stored with the bytes.

    A stored value that `decode` raises for is loaded anew and replaced, so a changed codec mends itself.
    """

    content_type: str
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


JSON = Codec("application/json", _json, json.loads)
"""JSON. What was a tuple is a list when it comes from the cache."""

BYTES = Codec("application/octet-stream", bytes, bytes)
"""Bytes as they are. For another type: `dataclasses.replace(BYTES, content_type="text/html")`."""
