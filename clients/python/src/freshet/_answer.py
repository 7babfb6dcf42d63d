"""What the sidecar says, and what became of a read."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ._wire import Response


@dataclass
class Answer:
    """A value and where it came from."""

    value: Any = None
    """The value; `None` if there is no such row."""
    status: str = "unavailable"
    """`hit`; `miss`; `stale`: the sidecar can't vouch for it now; `unavailable`: the sidecar couldn't be asked;
    `refused`: the request was a mistake, and `detail` names the problem."""
    detail: str | None = None
    """Why, as `Cache-Status` has it; of `unavailable`: `connect`, `timeout`, `closed`, `garbled`, `paused`,
    `late` (the event loop was too busy to hear the answer) or a problem; of `refused`: the problem."""
    ttl: int | None = None
    """Seconds the cached value has left; negative if it is served stale."""
    age: int | None = None
    """Seconds since the cached value was stored."""
    position: str | None = None
    """How far of the database's log the cached value reflects at least: the next read's `min_position`."""
    lease: str | None = None
    """On a miss, what a value read from now on is put with."""
    fill: str | None = None
    """On a miss, who is to load: `you` or `other`."""
    stored: str | None = None
    """What became of the loaded value: `stored`, `fenced` (a change came in between), `unavailable`, `unencodable`
    or a problem; `None` if it wasn't sent."""
    content_type: str | None = field(default=None, repr=False)
    _found: bool = field(default=False, repr=False)

    @property
    def found(self) -> bool:
        """Whether the cache answered: with a value, or with the knowledge that there is no such row."""
        return self._found


def of_get(response: Response) -> Answer:
    """Reads the answer to a GET; the value is bytes."""
    status = _cache_status(response.headers.get("cache-status", ""))
    if status is None or response.status not in (200, 404):
        problem = problem_of(response)
        if response.status >= 500 or not problem:
            return Answer(detail=problem or "garbled")
        return Answer(status="refused", detail=problem)
    hit = "hit" in status
    answer = Answer(
        status="hit" if hit else "stale" if status.get("fwd") == "stale" else "miss",
        detail=status.get("detail"),
        ttl=integer(status.get("ttl")),
        age=integer(response.headers.get("age")),
        position=response.headers.get("freshet-position"),
        lease=response.headers.get("freshet-lease"),
        fill=response.headers.get("freshet-fill"),
        content_type=response.headers.get("content-type"),
    )
    answer._found = hit or response.status == 200
    answer.value = response.body if response.status == 200 else None
    return answer


def of_change(response: Response, done: str) -> str:
    """What became of a PUT or DELETE, or of the one fill of a batch."""
    if response.status == 204:
        return done
    if response.status == 200:
        try:
            (fill,) = json.loads(response.body)["put"]
            return done if fill["status"] == 204 else _last_word(fill["problem"])
        except (ValueError, KeyError, TypeError):
            pass
    return problem_of(response) or f"http-{response.status}"


def problem_of(response: Response) -> str | None:
    """The last word of a problem's type, if it is a problem."""
    if not response.headers.get("content-type", "").startswith("application/problem+json"):
        return None
    try:
        return _last_word(json.loads(response.body))
    except (ValueError, KeyError, TypeError):
        return None


def _last_word(problem: Any) -> str:
    return str(problem["type"]).rsplit("/", 1)[-1]


def _cache_status(text: str) -> dict[str, str] | None:
    """The parameters of our member of a `Cache-Status` (RFC 9211)."""
    for member in text.split(","):
        name, *parameters = (part.strip() for part in member.split(";"))
        if name == "freshet":
            pairs = (parameter.partition("=") for parameter in parameters)
            return {key: value.strip('"') for key, _, value in pairs}
    return None


def integer(text: str | None) -> int | None:
    """A number that is written in digits."""
    digits = (text or "").removeprefix("-")
    return int(text or "") if digits.isascii() and digits.isdigit() else None
