"""Does what `clients/conformance` asks for, a line of JSON at a time."""

import asyncio
import base64
import concurrent.futures
import json
import sys
import time

import freshet


def say(message):
    print(json.dumps(message), flush=True)


def hear():
    return json.loads(sys.stdin.readline())


def column(value):
    return int(value["integer"]) if isinstance(value, dict) else value


def dependency(item):
    if isinstance(item, str):
        return item
    ((kind, words),) = item.items()
    return getattr(freshet, kind)(*map(column, words))


def codec(call):
    return {"bytes": freshet.BYTES, "json": freshet.JSON}.get(call.get("codec"), freshet.CBOR)


def decoded(call, value):
    return base64.b64decode(value) if call.get("codec") == "bytes" else value


def load(call, fill):
    say({"load": True})
    turn = hear()
    if "error" in turn:
        raise RuntimeError(turn["error"])
    for name, value in turn.get("fill", {}).items():
        setattr(fill, name, [dependency(item) for item in value] if name == "depends" else value)
    if turn.get("absent"):
        return None
    return "x" * turn["repeat"] if "repeat" in turn else decoded(call, turn["value"])


def shown(call, answer):
    value = answer.value
    text = None
    if call["call"] == "get":
        value, text = None, value.decode(errors="replace") if value is not None else None
    elif isinstance(value, bytes):
        value = base64.b64encode(value).decode()
    names = ["status", "detail", "ttl", "age", "position", "lease", "fill", "stored"]
    return {"value": value, "text": text, "type": answer.content_type, **{name: getattr(answer, name) for name in names}}


FAILURES = {
    freshet.PublishMistake: "mistake",
    freshet.PublishRefused: "refused",
    freshet.PublishUnavailable: "unavailable",
    freshet.PublishUnknown: "unknown",
}


def said(item):
    """A value that is to be published."""
    value = object() if item.get("unencodable") else decoded(item, item.get("value"))
    return freshet.Value(list(map(column, item["key"])), value, item["ttl"], codec(item))


async def published(client, call):
    put = [said(item) for item in call.get("put", [])]
    delete = [list(map(column, key)) for key in call.get("delete", [])]
    try:
        done = client.publish(call["cache"], put, delete=delete, clear=call.get("clear", False))
        done = await done if asyncio.iscoroutine(done) else done
    except freshet.PublishError as error:
        failed = FAILURES[type(error)]
        return {"failed": failed, "problem": error.problem, "reason": error.detail, "retry_after": error.retry_after}
    return {name: getattr(done, name) for name in ("applied", "start", "publisher", "sequence")}


async def many(client, cache, key, times):
    """How many hits there are among as many reads at the same time."""
    if isinstance(client, freshet.AsyncClient):
        answers = await asyncio.gather(*(client.get(cache, key) for _ in range(times)))
    else:
        with concurrent.futures.ThreadPoolExecutor(times) as threads:
            answers = list(threads.map(lambda _: client.get(cache, key), range(times)))
    return sum(answer.status == "hit" for answer in answers)


async def answer(client, call):
    """The call's answer; `client` is of either kind."""

    async def done(result):
        return await result if asyncio.iscoroutine(result) else result

    name, options = call["call"], dict(call.get("options", {}))
    if "depends" in options:
        options["depends"] = [dependency(item) for item in options["depends"]]
    if name == "address":
        try:
            type(client)(call["address"])
        except ValueError:
            return {"taken": False}
        return {"taken": True}
    if name == "query_key":
        return {"key": freshet.query_key(call["text"], [column(param) for param in call["params"]])}
    key = [column(part) for part in call.get("key", [])]
    if name == "publish":
        return await published(client, call)
    if name == "get":
        return shown(call, await done(client.get(call["cache"], key, **options)))
    if name == "many":
        return {"hits": await many(client, call["cache"], key, call["times"])}
    if name == "invalidate_tag":
        return {"outcome": await done(client.invalidate_tag(call["tag"]))}
    if name == "delete":
        return {"outcome": await done(client.delete(call["cache"], key))}
    if name == "put":
        value = decoded(call, call["value"])
        outcome = client.put(call["cache"], key, call["lease"], value, codec=codec(call), **options)
        return {"outcome": await done(outcome)}

    async def loader(fill):
        return load(call, fill)

    turn = loader if isinstance(client, freshet.AsyncClient) else lambda fill: load(call, fill)
    try:
        return shown(call, await done(client.get_or_load(call["cache"], key, turn, codec=codec(call), **options)))
    except RuntimeError as error:
        return {"error": str(error)}


async def closed(client):
    if isinstance(client, freshet.AsyncClient):
        await client.close()
    else:
        client.close()


async def main(kind):
    told = []

    def new(timeout):
        options = {} if timeout is None else {"timeout": timeout}
        if timeout is not None and kind is freshet.Client:
            options["connect_timeout"] = timeout
        return kind(on_problem=lambda *problem: told.append(problem), **options)

    client = new(None)
    for line in sys.stdin:
        call, started = json.loads(line), time.monotonic()
        if call["call"] == "new":
            await closed(client)
            client, said = new(call["timeout"]), {}
        else:
            said = await answer(client, call)
        said |= {"ms": round((time.monotonic() - started) * 1000), "told": list(told)}
        told.clear()
        say({"answer": said})
    await closed(client)


asyncio.run(main(freshet.AsyncClient if sys.argv[1:] == ["async"] else freshet.Client))
