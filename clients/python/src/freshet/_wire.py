"""As much of HTTP/1.1 as the sidecar speaks, without I/O.

`http.client` has no deadline for a whole exchange, knows no asyncio, and takes longer for an answer's head than the
sidecar for the answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field

MOST_OF_A_HEAD = 64 << 10
MOST_OF_A_BODY = 64 << 20


class Unavailable(Exception):
    """The sidecar couldn't be asked; the first argument says why in a word."""

    @property
    def why(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    wait: float = 0.0
    """Seconds for which the answer may be held back because it was asked for."""
    once: bool = False
    """Whether it goes over a new connection, and so never twice: of one that was used before nobody knows whether it was
    closed before the request or because of it."""

    @property
    def valid(self) -> bool:
        """Whether its headers are ones: printable ASCII."""
        return all(value.isascii() and value.isprintable() for value in self.headers.values())

    @property
    def pausable(self) -> bool:
        """Whether it may be left unsent while the sidecar hangs: what drops values is tried in any case."""
        return self.method in ("GET", "PUT") or self.path.endswith("/_batch")

    def encode(self) -> bytes:
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: freshet"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.method in ("PUT", "POST"):
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode("ascii") + self.body


@dataclass
class Response:
    status: int
    headers: dict[str, str]
    body: bytes = b""

    @property
    def length(self) -> int:
        """The bytes of the body that follows the head."""
        if self.status in (204, 304):
            return 0
        text = self.headers.get("content-length", "")
        if not (text.isascii() and text.isdigit()) or int(text) > MOST_OF_A_BODY:
            raise Unavailable("garbled")
        return int(text)

    @property
    def keeps(self) -> bool:
        """Whether the connection can be used again."""
        return self.headers.get("connection", "").lower() != "close"


def head(block: bytes) -> Response:
    """Reads an answer's head, its empty line included."""
    try:
        first, *lines = block.decode("latin-1").split("\r\n")[:-2]
        version, status, *_ = first.split(" ")
        if not version.startswith("HTTP/1.") or len(status) != 3 or not status.isdigit():
            raise Unavailable("garbled")
        pairs = [line.split(":", 1) for line in lines]
        return Response(int(status), {name.lower(): value.strip() for name, value in pairs})
    except ValueError:
        raise Unavailable("garbled") from None
