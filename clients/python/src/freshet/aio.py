"""The client for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from . import _wire
from ._address import addresses
from ._answer import Answer
from ._calls import Calls
from ._flow import Fill, Flow, Load
from ._publish import Published
from ._wire import Request, Response, Unavailable
from .client import IDLE

TURNS = 8
"""Turns of the event loop in which an answer that is there is read."""

LATE = 0.05
"""Seconds after which a time-out isn't the sidecar's but the event loop's own."""

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class AsyncClient(
    Calls[
        Callable[[Fill], Awaitable[Any]],
        Coroutine[Any, Any, Answer],
        Coroutine[Any, Any, str],
        Coroutine[Any, Any, Published],
    ]
):
    """As `Client`, for one event loop; the loader is a coroutine function. Connecting has no time of its own: it is part
    of `timeout`."""

    def __init__(
        self,
        address: str | None = None,
        *,
        timeout: float = 0.25,
        wait: float = 1.0,
        max_idle: int = 32,
        on_problem: Callable[[str, str], None] | None = None,
    ) -> None:
        super().__init__(wait, on_problem)
        self._addresses = addresses(address)
        self._timeout, self._max_idle = timeout, max_idle
        self._idle: list[tuple[float, Connection]] = []

    async def close(self) -> None:
        """Closes idle connections."""
        idle, self._idle = self._idle, []
        for _, (_, writer) in idle:
            writer.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _run(self, flow: Flow, loader: Callable[[Fill], Awaitable[Any]] | None = None) -> Any:
        result: Any = None
        while True:
            try:
                asked = flow.send(result)
            except StopIteration as done:
                return done.value
            if isinstance(asked, Load):
                assert loader is not None
                result = await loader(asked.fill)
            else:
                result = await self._ask(asked)

    async def _ask(self, request: Request) -> Response | Unavailable:
        if request.pausable and self._health.pauses():
            return Unavailable("paused")
        outcome: Response | Unavailable
        allowed, started = self._timeout + request.wait, time.monotonic()
        exchange = asyncio.ensure_future(self._exchange(request))
        try:
            await asyncio.wait({exchange}, timeout=allowed)
            for _ in range(TURNS):
                # What came while the loop was busy with something else is still to be read.
                if exchange.done():
                    break
                await asyncio.sleep(0)
            outcome = exchange.result() if exchange.done() else Unavailable("timeout")
        except Unavailable as error:
            outcome = error
        finally:
            exchange.cancel()
        if isinstance(outcome, Unavailable) and outcome.why == "timeout":
            if time.monotonic() - started > allowed + LATE:
                outcome = Unavailable("late")
        self._health.saw(outcome)
        return outcome

    async def _exchange(self, request: Request) -> Response:
        sent = request.encode()
        while True:
            connection = None if request.once else self._take()
            reused = connection is not None
            reader, writer = connection or await self._connect()
            kept = False
            try:
                response = await _answer(reader, writer, sent)
                kept = response.keeps
                return response
            except Unavailable as error:
                # It was closed while it was idle. That request was never read.
                if not (reused and error.why == "closed"):
                    raise
            finally:
                if kept and len(self._idle) < self._max_idle:
                    self._idle.append((time.monotonic(), (reader, writer)))
                else:
                    writer.close()

    async def _connect(self) -> Connection:
        for place in self._addresses:
            try:
                if isinstance(place, tuple):
                    return await asyncio.open_connection(*place, limit=_wire.MOST_OF_A_HEAD)
                return await asyncio.open_unix_connection(place, limit=_wire.MOST_OF_A_HEAD)
            except OSError:
                pass
        raise Unavailable("connect")

    def _take(self) -> Connection | None:
        oldest = time.monotonic() - IDLE
        while self._idle:
            used, connection = self._idle.pop()
            if used > oldest and not connection[0].at_eof():
                return connection
            connection[1].close()
        return None


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: bytes) -> Response:
    try:
        writer.write(sent)
        await writer.drain()
        response = _wire.head(await reader.readuntil(b"\r\n\r\n"))
        response.body = await reader.readexactly(response.length)
        return response
    except asyncio.IncompleteReadError as error:
        raise Unavailable("garbled" if error.partial else "closed") from None
    except asyncio.LimitOverrunError:
        raise Unavailable("garbled") from None
    except OSError:
        raise Unavailable("closed") from None
