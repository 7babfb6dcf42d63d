"""Where the sidecar listens."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

SOCKET = "/run/freshet/freshet.sock"
URL = "http://127.0.0.1:3737"


def addresses(given: str | None, environment: Mapping[str, str] = os.environ) -> list[str | tuple[str, int]]:
    """Paths of Unix sockets and (host, port), in the order in which they are tried."""
    if given is not None:
        return [_parse(given)]
    said = [environment.get("FRESHET_SOCKET"), environment.get("FRESHET_URL")]
    return [_parse(text) for text in said if text] or [SOCKET, _parse(URL)]


def _parse(text: str) -> str | tuple[str, int]:
    if text.startswith("/"):
        return text
    try:
        url = urlsplit(text)
        bare = url.path in ("", "/") and not (url.query or url.fragment) and url.username is None
        if url.scheme == "http" and url.hostname and bare:
            return url.hostname, url.port or 80
    except ValueError:
        pass
    raise ValueError(f"a sidecar's address is a socket's path or a URL like {URL}, not {text!r}")
