"""What is stored of a value."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import cbor2


@dataclass(frozen=True)
class Codec:
    """How values become bytes and back. `content_type` is stored with the bytes.

    A stored value that `decode` raises for is loaded anew and replaced, so a changed codec mends itself.
    """

    content_type: str
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]
    also: Mapping[str, Callable[[bytes], Any]] = field(default_factory=dict)
    """How values of further types are decoded, such as `application/json`, and of those that end in `+json`."""
    strict: bool = False
    """Whether values of other types than these can't be decoded, and these come as they are stored. Otherwise `decode` is tried
    on others, and its own type is asked for first."""

    def accept(self) -> str | None:
        """What a read is sent with as `Accept`."""
        if not self.also:
            return None
        weight = "" if self.strict else ";q=0.9"
        return ", ".join([self.content_type, *(kind + weight for kind in self.also), "*/*;q=0.1"])

    def read(self, content_type: str | None, data: bytes) -> Any:
        """Decodes what is stored with this type."""
        essence = (content_type or "").partition(";")[0].strip().lower()
        for kind, decode in {self.content_type: self.decode, **self.also}.items():
            if essence == kind or essence.endswith("+" + kind.rpartition("/")[2]):
                return decode(data)
        if self.strict:
            raise ValueError(f"the value is of type {essence!r}")
        return self.decode(data)


def _cbor(value: Any) -> bytes:
    return cbor2.dumps(value, canonical=True)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


CBOR = Codec("application/cbor", _cbor, cbor2.loads, {"application/json": json.loads}, strict=True)
"""CBOR, deterministic. What was a tuple is a list when it comes from the cache. JSON is read, too."""

JSON = Codec("application/json", _json, json.loads, {"application/cbor": cbor2.loads})
"""JSON. What was a tuple is a list when it comes from the cache. CBOR is read, too."""

BYTES = Codec("application/octet-stream", bytes, bytes)
"""Bytes as they are. For another type: `dataclasses.replace(BYTES, content_type="text/html")`."""
