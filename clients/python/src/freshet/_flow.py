"""What is asked of the sidecar and the loader, in which order: without I/O, for both clients.

Each flow yields requests and gets their answers; the clients carry them out.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Union
from urllib.parse import quote

from . import _answer, _publish
from ._answer import Answer
from ._codec import Codec
from ._keys import Key, path
from ._publish import PublishError, Value
from ._wire import Request, Response, Unavailable

log = logging.getLogger("freshet")

MOST_DEPENDS = 64
"""More dependencies than this don't fit a header: they are sent as a batch."""

TIMEOUTS = 3
"""After so many time-outs in a row the sidecar is taken for hung."""

PAUSE = 1.0
"""Seconds between two requests to a sidecar that is hung."""


@dataclass
class Fill:
    """How a loaded value is stored. The loader gets it and may change it: what a page depends on is often known only
    when it was read."""

    depends: list[str] = field(default_factory=list)
    """What `table`, `row` and `tag` make: `inventory.product`, `inventory.category/7`, `tag:home`."""
    position: str | None = None
    """At which position the value was read: `cdc="snap:725:727:725"`."""
    max_age: float | None = None
    """Seconds the value may live, below the cache's `ttl`."""


@dataclass(frozen=True)
class Load:
    """The loader's turn."""

    fill: Fill


Outcome = Union[Response, Unavailable]
Flow = Generator[Union[Request, Load], Any, Any]


class Health:
    """Keeps a hung sidecar from slowing the application down: after three time-outs in a row only one request per
    second is tried, until one is answered. A sidecar that isn't there costs nothing and is tried each time."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._timeouts, self._resume, self._lock = now, 0, 0.0, threading.Lock()

    def pauses(self) -> bool:
        if self._timeouts < TIMEOUTS:
            return False
        with self._lock:
            now = self._now()
            if now < self._resume:
                return True
            self._resume = now + PAUSE
            return False

    def saw(self, outcome: Outcome) -> None:
        if isinstance(outcome, Response):
            self._timeouts = 0
        elif outcome.why == "timeout":
            with self._lock:
                self._timeouts += 1
                self._resume = self._now() + PAUSE


class Reports:
    """Tells each kind of mistake once: it repeats with every request."""

    def __init__(self, on_problem: Callable[[str, str], None] | None) -> None:
        self._told: set[tuple[str, str]] = set()
        self._tell = on_problem or (lambda cache, problem: log.warning("cache %s: %s", cache, problem))

    def say(self, cache: str, problem: str) -> None:
        if (cache, problem) not in self._told:
            self._told.add((cache, problem))
            self._tell(cache, problem)


def get(
    reports: Reports,
    cache: str,
    key: Key,
    *,
    wait: float = 0,
    min_position: str | None = None,
    no_cache: bool = False,
    accept: str | None = None,
) -> Flow:
    """One read."""
    target = path(cache, key)
    if target is None:
        return Answer(status="refused", detail="key-syntax")
    headers = {}
    if wait > 0:
        headers["Prefer"] = f"wait={wait:.3f}".rstrip("0").rstrip(".")
    if min_position is not None:
        headers["Freshet-Min-Position"] = min_position
    if no_cache:
        headers["Cache-Control"] = "no-cache"
    if accept is not None:
        headers["Accept"] = accept
    request = Request("GET", target, headers, wait=wait)
    outcome = (yield request) if request.valid else None
    if outcome is None:
        answer = Answer(status="refused", detail="header")
    else:
        answer = Answer(detail=outcome.why) if isinstance(outcome, Unavailable) else _answer.of_get(outcome)
    if answer.status in ("refused", "unavailable") and answer.detail != "paused":
        reports.say(cache, answer.detail or "")
    return answer


def put(reports: Reports, cache: str, key: Key, lease: str, value: Any, codec: Codec, fill: Fill) -> Flow:
    """One fill; `None` stands for "there is no such row"."""
    target = path(cache, key)
    if target is None:
        return "key-syntax"
    try:
        body = b"" if value is None else codec.encode(value)
    except Exception:
        log.debug("cache %s: a value can't be encoded", cache, exc_info=True)
        reports.say(cache, "unencodable")
        return "unencodable"
    content_type = None if value is None else codec.content_type
    build = _put if len(fill.depends) <= MOST_DEPENDS else _batch
    request = build(target, lease, content_type, body, fill)
    outcome = (yield request) if request.valid else None
    if isinstance(outcome, Unavailable):
        return "unavailable"
    stored = "header" if outcome is None else _answer.of_change(outcome, "stored")
    if stored not in ("stored", "fenced"):
        reports.say(cache, stored)
    return stored


def _put(target: str, lease: str, content_type: str | None, body: bytes, fill: Fill) -> Request:
    headers = {"Freshet-Lease": lease}
    if content_type is None:
        headers["Freshet-Absent"] = "?1"
    else:
        headers["Content-Type"] = content_type
    if fill.depends:
        headers["Freshet-Depends"] = ", ".join(fill.depends)
    if fill.position is not None:
        headers["Freshet-Position"] = fill.position
    if fill.max_age is not None:
        headers["Cache-Control"] = f"max-age={max(0, int(fill.max_age))}"
    return Request("PUT", target, headers, body)


def _batch(target: str, lease: str, content_type: str | None, body: bytes, fill: Fill) -> Request:
    _, version, cache, item_key = target.split("/", 3)
    item: dict[str, Any] = {"key": item_key, "lease": lease, "depends": fill.depends}
    if content_type is None:
        item["absent"] = True
    else:
        item |= {"type": content_type, "base64": base64.b64encode(body).decode()}
    if fill.position is not None:
        item["position"] = fill.position
    if fill.max_age is not None:
        item["maxAge"] = max(0, int(fill.max_age))
    headers = {"Content-Type": "application/json"}
    return Request("POST", f"/{version}/{cache}/_batch", headers, json.dumps({"put": [item]}).encode())


def delete(cache: str, key: Key) -> Flow:
    """Drops a value in this pod."""
    target = path(cache, key)
    if target is None:
        return "key-syntax"
    outcome = yield Request("DELETE", target)
    return "unavailable" if isinstance(outcome, Unavailable) else _answer.of_change(outcome, "deleted")


def invalidate_tag(text: str) -> Flow:
    """Voids what depends on a tag in this pod."""
    outcome = yield Request("POST", "/v1/_tags/" + quote(text, safe=""))
    return "unavailable" if isinstance(outcome, Unavailable) else _answer.of_change(outcome, "invalidated")


def publish(cache: str, put: Iterable[Value], delete: Iterable[Key], clear: bool) -> Flow:
    """Tells every pod what is so from now on."""
    request = _publish.request(cache, put, delete, clear)
    if isinstance(request, PublishError):
        raise request
    outcome = _publish.outcome((yield request))
    if isinstance(outcome, PublishError):
        raise outcome
    return outcome


def get_or_load(
    reports: Reports,
    cache: str,
    key: Key,
    *,
    codec: Codec,
    wait: float,
    min_position: str | None,
    no_cache: bool,
    depends: Iterable[str],
    position: str | None,
    max_age: float | None,
) -> Flow:
    """A read, and on a miss a load and a fill."""
    if not isinstance(key, (str, int)):
        key = tuple(key) if isinstance(key, Iterable) else key
    # Whoever is behind waits for the log from the start. Whoever finds somebody loading asks again, and then waits: that
    # sidecar is known to answer.
    first, accept = wait if min_position is not None else 0, codec.accept()
    found = yield from get(
        reports, cache, key, wait=first, min_position=min_position, no_cache=no_cache, accept=accept
    )
    if found.fill == "other" and wait > 0 and first == 0 and not no_cache:
        found = yield from get(reports, cache, key, wait=wait, accept=accept)
    if found.found:
        if found.value is None:
            return found
        try:
            return replace(found, value=codec.read(found.content_type, found.value))
        except Exception:
            log.debug("cache %s: a value can't be decoded", cache, exc_info=True)
            reports.say(cache, "undecodable")
        # Another version of the application stored it. It is replaced.
        found = yield from get(reports, cache, key, no_cache=True)
        found.detail = "undecodable"
    fill = Fill(list(depends), position, max_age)
    found.value = yield Load(fill)
    if found.lease is not None:
        found.stored = yield from put(reports, cache, key, found.lease, found.value, codec, fill)
    return found
