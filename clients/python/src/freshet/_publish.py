"""What is published: the request, and what became of it."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Union
from urllib.parse import quote

from . import _answer
from ._codec import CBOR, Codec
from ._keys import Key, segments
from ._wire import Request, Response, Unavailable

log = logging.getLogger("freshet")

PATIENCE = 6.0
"""Seconds within which a sidecar that isn't hung has answered: it waits 5 s for its source."""


@dataclass(frozen=True)
class Value:
    """What a key's value is from now on: `Value("eur-usd", {"bid": 1.08}, ttl=60)`."""

    key: Key
    """A column or several."""
    value: Any
    """What `codec` encodes. `None` is a value like others: a key that has none any more is deleted."""
    ttl: float
    """Seconds for which it is good, at least 0.001; never longer than the cache's `ttl`."""
    codec: Codec = CBOR
    """How it becomes bytes."""


@dataclass(frozen=True)
class Published:
    """The source has all of what was published."""

    applied: bool
    """Whether this pod's reads see it, or something newer. Otherwise its sidecar hasn't read it within 5 s. Reads in other
    pods see it when their sidecars have read it."""
    start: int
    """Since when it is so, by this pod's clock: milliseconds since the Unix epoch."""
    publisher: str
    """The name under which the sidecar publishes now."""
    sequence: int
    """The number of the last message among all of this publisher's."""


class PublishError(Exception):
    """Something wasn't published, or nobody knows whether it was: one of the four classes below."""

    def __init__(self, problem: str, detail: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(f"{problem}: {detail}" if detail else problem)
        self.problem = problem
        """Why, in a word: the last one of a problem's type, or a client's own such as `connect`."""
        self.detail = detail
        """Why, in a sentence of the sidecar's."""
        self.retry_after = retry_after
        """Seconds after which it may be tried again, where the sidecar has said so."""


class PublishMistake(PublishError):
    """The request was a mistake, and nothing was published: the cache isn't published (`not-published`), or its source
    can't be written to (`not-publishable`), a value has no `ttl` or is too large, a key is none (`key-syntax`), a value
    can't be encoded (`unencodable`)."""


class PublishRefused(PublishError):
    """The source doesn't take it. Nothing was published, or a part: `detail` says which."""


class PublishUnavailable(PublishError):
    """Nothing was published, for now: nobody listens (`connect`), or the sidecar has no connection to the source
    (`publish-unavailable`). It can be tried again, after `retry_after` seconds."""


class PublishUnknown(PublishError):
    """It may have been published, or may be yet: the source hasn't answered the sidecar in time (`publish-unknown`), or the
    sidecar hasn't answered at all (`timeout`, `closed`, `garbled`). Publish what holds by then, rather than the same again:
    that would win over what others have published meanwhile."""


def request(cache: str, put: Iterable[Value], delete: Iterable[Key], clear: bool) -> Union[Request, PublishMistake]:
    """The request, or why there is none."""
    items, deleted = [], []
    for key in delete:
        columns = segments(key)
        if columns is None:
            return PublishMistake("key-syntax")
        deleted.append(columns)
    for item in put:
        columns = segments(item.key)
        if columns is None:
            return PublishMistake("key-syntax")
        try:
            encoded = item.codec.encode(item.value)
        except Exception as error:
            log.debug("cache %s: a value can't be encoded", cache, exc_info=True)
            mistake = PublishMistake("unencodable", str(error))
            mistake.__cause__ = error
            return mistake
        head = json.dumps({"key": columns, "ttl": round(item.ttl * 1000)})
        items.append(f"{head[:-1]}, {_value(item.codec.content_type, encoded)}}}")
    try:
        target = f"/v1/{quote(cache, safe='')}/_publish"
    except UnicodeEncodeError:
        return PublishMistake("unknown-cache")
    rest = json.dumps({"clear": clear, "delete": deleted})
    body = f'{rest[:-1]}, "put": [{", ".join(items)}]}}'
    return Request("POST", target, {"Content-Type": "application/json"}, body.encode(), wait=PATIENCE, once=True)


def _value(content_type: str, encoded: bytes) -> str:
    """The members that say what the value is. JSON stands there as it was written; whoever looks at the source can read it."""
    if content_type == "application/json":
        try:
            text = bytes(encoded).decode()
            json.loads(text, parse_constant=_no_json)
            return f'"value": {text}'
        except (ValueError, RecursionError):
            # What a codec calls JSON isn't: it is published as it is.
            pass
    members = {"type": content_type, "base64": base64.b64encode(encoded).decode()}
    return json.dumps(members)[1:-1]


def _no_json(constant: str) -> None:
    raise ValueError(constant)


def outcome(answer: Union[Response, Unavailable]) -> Union[Published, PublishError]:
    """What became of it."""
    if isinstance(answer, Unavailable):
        return (PublishUnavailable if answer.why == "connect" else PublishUnknown)(answer.why)
    if answer.status in (200, 202):
        try:
            said = json.loads(answer.body)
            return Published(
                said["applied"] is True, int(said["start"]), str(said["publisher"]), int(said["sequence"])
            )
        except (ValueError, KeyError, TypeError):
            return PublishUnknown("garbled")
    problem = _answer.problem_of(answer)
    if problem is None:
        return PublishUnknown("garbled")
    kind: type[PublishError] = {502: PublishRefused, 503: PublishUnavailable}.get(answer.status, PublishUnknown)
    if 400 <= answer.status < 500:
        kind = PublishMistake
    after = _answer.integer(answer.headers.get("retry-after"))
    return kind(problem, json.loads(answer.body).get("detail"), after)
