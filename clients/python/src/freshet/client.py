"""The blocking client."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from . import _wire
from ._address import addresses
from ._answer import Answer
from ._calls import Calls
from ._flow import Fill, Flow, Load
from ._publish import Published
from ._wire import Request, Response, Unavailable

IDLE = 60.0
"""Seconds after which an unused connection isn't used again: the sidecar closes it after 75."""


class Client(Calls[Callable[[Fill], Any], Answer, str, Published]):
    """Reads through a sidecar, from any number of threads, and in forked processes.

    Without an `address` (a socket's path or a URL) `FRESHET_SOCKET` and `FRESHET_URL` are tried in this order; without
    these, the places where a sidecar listens by default. Nothing is connected before the first read.

    `timeout` bounds each request, in seconds; a read that waits may take `wait` longer. `wait` is how long somebody
    else's load, or the log, is waited for unless a call says otherwise.

    `on_problem(cache, problem)` is told of each kind of mistake once; by default the logger `freshet` is.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        timeout: float = 0.25,
        connect_timeout: float = 0.05,
        wait: float = 1.0,
        max_idle: int = 32,
        on_problem: Callable[[str, str], None] | None = None,
    ) -> None:
        super().__init__(wait, on_problem)
        self._addresses = addresses(address)
        self._timeout, self._connect_timeout, self._max_idle = timeout, connect_timeout, max_idle
        self._idle: list[_Connection] = []
        self._lock = threading.Lock()
        self._process = os.getpid()

    def close(self) -> None:
        """Closes idle connections. A closed client can be used again."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, flow: Flow, loader: Callable[[Fill], Any] | None = None) -> Any:
        result: Any = None
        while True:
            try:
                asked = flow.send(result)
            except StopIteration as done:
                return done.value
            if isinstance(asked, Load):
                assert loader is not None
                result = loader(asked.fill)
            else:
                result = self._ask(asked)

    def _ask(self, request: Request) -> Response | Unavailable:
        if request.pausable and self._health.pauses():
            return Unavailable("paused")
        outcome: Response | Unavailable
        try:
            outcome = self._exchange(request)
        except Unavailable as error:
            outcome = error
        self._health.saw(outcome)
        return outcome

    def _exchange(self, request: Request) -> Response:
        sent, deadline = request.encode(), time.monotonic() + self._timeout + request.wait
        while True:
            connection = None if request.once else self._take()
            reused = connection is not None
            if connection is None:
                connection = _Connection(self._addresses, min(self._connect_timeout, self._timeout))
            try:
                response = connection.exchange(sent, deadline)
            except Unavailable as error:
                connection.close()
                # It was closed while it was idle. That request was never read.
                if reused and error.why == "closed":
                    continue
                raise
            except BaseException:
                connection.close()
                raise
            if response.keeps:
                self._give(connection)
            else:
                connection.close()
            return response

    def _take(self) -> _Connection | None:
        with self._lock:
            if self._process != os.getpid():
                # The parent's connections are the parent's.
                self._process, self._idle = os.getpid(), []
            oldest = time.monotonic() - IDLE
            while self._idle:
                connection = self._idle.pop()
                if connection.used > oldest:
                    return connection
                connection.close()
        return None

    def _give(self, connection: _Connection) -> None:
        with self._lock:
            if len(self._idle) < self._max_idle:
                self._idle.append(connection)
                return
        connection.close()


class _Connection:
    def __init__(self, places: list[str | tuple[str, int]], timeout: float) -> None:
        self.used, self._rest = time.monotonic(), b""
        why = "connect"
        for place in places:
            try:
                self._socket = _connect(place, timeout)
                return
            except TimeoutError:
                why = "timeout"
            except OSError:
                pass
        raise Unavailable(why)

    def exchange(self, request: bytes, deadline: float) -> Response:
        try:
            self._limit(deadline)
            self._socket.sendall(request)
            block = b""
            while b"\r\n\r\n" not in block:
                if len(block) > _wire.MOST_OF_A_HEAD:
                    raise Unavailable("garbled")
                block += self._receive(deadline, "garbled" if block else "closed")
            end = block.index(b"\r\n\r\n") + 4
            response, body = _wire.head(block[:end]), bytearray(block[end:])
            while len(body) < response.length:
                body += self._receive(deadline, "garbled")
            if len(body) > response.length:
                raise Unavailable("garbled")
        except TimeoutError:
            raise Unavailable("timeout") from None
        except OSError:
            raise Unavailable("closed") from None
        response.body, self.used = bytes(body), time.monotonic()
        return response

    def close(self) -> None:
        self._socket.close()

    def _receive(self, deadline: float, at_the_end: str) -> bytes:
        self._limit(deadline)
        received = self._socket.recv(256 << 10)
        if not received:
            raise Unavailable(at_the_end)
        return received

    def _limit(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)


def _connect(place: str | tuple[str, int], timeout: float) -> socket.socket:
    if isinstance(place, tuple):
        connected = socket.create_connection(place, timeout)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connected.settimeout(timeout)
        connected.connect(place)
    except BaseException:
        connected.close()
        raise
    return connected
