"""The calls that both clients have: what they take, and what each asks of the flows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from . import _flow
from ._codec import CBOR, Codec
from ._flow import Fill, Flow, Health, Reports
from ._keys import Key
from ._publish import Value

Loader = TypeVar("Loader")
Answered = TypeVar("Answered")
"""An `Answer`, or what is awaited for one."""
Done = TypeVar("Done")
"""What became of a change, or what is awaited for that."""
Said = TypeVar("Said")
"""What was published, or what is awaited for that."""


class Calls(ABC, Generic[Loader, Answered, Done, Said]):
    """Each call makes a flow, which the client carries out, at once or when it is awaited."""

    def __init__(self, wait: float, on_problem: Callable[[str, str], None] | None) -> None:
        self._wait, self._health, self._reports = wait, Health(), Reports(on_problem)

    @abstractmethod
    def _run(self, flow: Flow, loader: Loader | None = None) -> Any:
        """Carries a flow out."""

    def get_or_load(
        self,
        cache: str,
        key: Key,
        loader: Loader,
        *,
        codec: Codec = CBOR,
        wait: float | None = None,
        min_position: str | None = None,
        no_cache: bool = False,
        depends: Iterable[str] = (),
        position: str | None = None,
        max_age: float | None = None,
    ) -> Answered:
        """The cached value, or what `loader` reads, which is then stored.

        `key` is a column or several. `loader` reads the database, outside any transaction that has written; `None`
        stands for "there is no such row", which is cached, too. Its exceptions are passed on, and nothing else is raised.

        `min_position` gives reads of one's own writes; `no_cache` loads in any case and replaces what is stored.
        `depends`, `position` and `max_age` are the fill's; the loader can change them.
        """
        answer: Answered = self._run(
            _flow.get_or_load(
                self._reports,
                cache,
                key,
                codec=codec,
                wait=self._wait if wait is None else wait,
                min_position=min_position,
                no_cache=no_cache,
                depends=depends,
                position=position,
                max_age=max_age,
            ),
            loader,
        )
        return answer

    def get(
        self,
        cache: str,
        key: Key,
        *,
        wait: float = 0,
        min_position: str | None = None,
        no_cache: bool = False,
    ) -> Answered:
        """What is cached, as the bytes that are stored; on a miss with a lease for `put`."""
        flow = _flow.get(self._reports, cache, key, wait=wait, min_position=min_position, no_cache=no_cache)
        answer: Answered = self._run(flow)
        return answer

    def put(
        self,
        cache: str,
        key: Key,
        lease: str,
        value: Any,
        *,
        codec: Codec = CBOR,
        depends: Iterable[str] = (),
        position: str | None = None,
        max_age: float | None = None,
    ) -> Done:
        """Stores what was read after `lease` was given: `stored`, `fenced`, `unavailable`, `unencodable` or a problem."""
        fill = Fill(list(depends), position, max_age)
        done: Done = self._run(_flow.put(self._reports, cache, key, lease, value, codec, fill))
        return done

    def delete(self, cache: str, key: Key) -> Done:
        """Drops a value in this pod: `deleted`, `unavailable` or a problem. It is tried even while reads are paused."""
        done: Done = self._run(_flow.delete(cache, key))
        return done

    def invalidate_tag(self, text: str) -> Done:
        """Voids what depends on a tag in this pod: `invalidated`, `unavailable` or a problem. As `delete`, it is always tried."""
        done: Done = self._run(_flow.invalidate_tag(text))
        return done

    def publish(
        self, cache: str, put: Iterable[Value] = (), *, delete: Iterable[Key] = (), clear: bool = False
    ) -> Said:
        """Tells every pod whose sidecar follows the cache's source what is so from now on: first `clear` voids all values,
        then `delete` those of these keys, then `put` gives keys theirs, each for its `ttl`. Of two values for one key the
        last one counts. The cache is `published`; at most 1 000 keys and values in all.

        It answers when the source has all of it, and this pod's reads see it, within 6 s and `timeout`. It raises a
        `PublishMistake`, `PublishRefused`, `PublishUnavailable` or `PublishUnknown`. Nothing is tried again by itself:
        whoever publishes once more, later, wins over what others have published meanwhile, and only the application knows
        what holds by then. As `delete`, it is always tried.
        """
        said: Said = self._run(_flow.publish(cache, put, delete, clear))
        return said
