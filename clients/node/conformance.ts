/** Does what `clients/conformance` asks for, a line of JSON at a time. */

import { createInterface } from "node:readline";
import {
  bytes, Client, json, PublishError, queryKey, row, table, tag, type Answer, type Column, type LoadOptions, type Parameter,
  type Codec, type Value,
} from "@freshet/client";

type Dependency = string | { table: [string] } | { row: [string, ...(Column | { integer: string })[]] } | { tag: [string] };

interface Fill {
  depends?: Dependency[];
  position?: string;
  max_age?: number;
}

interface Item {
  key: (Column | { integer: string })[];
  value?: unknown;
  unencodable?: boolean;
  ttl: number;
  codec?: "json" | "bytes";
}

interface Call {
  call: string;
  cache: string;
  key: (Column | { integer: string })[];
  codec?: "json" | "bytes";
  options?: Fill & { wait?: number; min_position?: string; no_cache?: boolean };
  text: string;
  params: (Parameter | { integer: string })[];
  lease: string;
  value: unknown;
  times: number;
  tag: string;
  put?: Item[];
  delete?: (Column | { integer: string })[][];
  clear?: boolean;
  address: string;
  timeout: number | null;
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const told: [string, string][] = [];
let client = newClient(null);

for (let call = await hear<Call>(); call !== undefined; call = await hear<Call>()) {
  const started = performance.now();
  const said = await answer(call);
  say({ answer: { ...said, ms: Math.round(performance.now() - started), told: told.splice(0) } });
}

function newClient(timeout: number | null): Client {
  const onProblem = (cache: string, problem: string): number => told.push([cache, problem]);
  return new Client(timeout === null ? { onProblem } : { onProblem, timeout });
}

async function answer(call: Call): Promise<object> {
  if (call.call === "new") {
    client.close();
    client = newClient(call.timeout);
    return {};
  }
  if (call.call === "address") {
    try {
      new Client({ address: call.address });
      return { taken: true };
    } catch {
      return { taken: false };
    }
  }
  if (call.call === "query_key") return { key: queryKey(call.text, call.params.map(integer)) };
  const key = (call.key ?? []).map(integer) as Column[];
  switch (call.call) {
    case "get": {
      const found = await client.get(call.cache, key, options(call));
      return { ...found, type: found.contentType, value: null, text: found.value && Buffer.from(found.value).toString() };
    }
    case "many": {
      const reads = Array.from({ length: call.times }, () => client.get(call.cache, key));
      return { hits: (await Promise.all(reads)).filter((found) => found.status === "hit").length };
    }
    case "put":
      return { outcome: await client.put(call.cache, key, call.lease, call.value, typed(call)) };
    case "publish":
      return publish(call);
    case "invalidate_tag":
      return { outcome: await client.invalidateTag(call.tag) };
    case "delete":
      return { outcome: await client.delete(call.cache, key) };
  }
  try {
    return await getOrLoad(call, key);
  } catch (error) {
    return { error: (error as Error).message };
  }
}

async function getOrLoad(call: Call, key: Column[]): Promise<object> {
  const loader = async (fill: { depends: string[]; position: string | null; maxAge: number | null }): Promise<unknown> => {
    say({ load: true });
    const turn = await hear<{ value: unknown; absent?: boolean; repeat?: number; error?: string; fill?: Fill }>();
    if (turn?.error) throw new Error(turn.error);
    fill.depends = turn?.fill?.depends?.map(dependency) ?? fill.depends;
    fill.position = turn?.fill?.position ?? fill.position;
    fill.maxAge = turn?.fill?.max_age ?? fill.maxAge;
    if (turn?.repeat) return "x".repeat(turn.repeat);
    return turn?.absent ? undefined : turn?.value;
  };
  if (call.codec !== "bytes") return client.getOrLoad(call.cache, key, loader, typed(call));
  const found: Answer<Uint8Array> = await client.getOrLoad(
    call.cache, key, async (fill) => Buffer.from((await loader(fill)) as string, "base64"),
    { ...options<Uint8Array>(call), codec: bytes() },
  );
  return { ...found, value: found.value && Buffer.from(found.value).toString("base64") };
}

async function publish(call: Call): Promise<object> {
  const publication = {
    put: (call.put ?? []).map(said),
    delete: (call.delete ?? []).map((key) => key.map(integer) as Column[]),
    ...(call.clear === undefined ? {} : { clear: call.clear }),
  };
  try {
    return await client.publish(call.cache, publication);
  } catch (error) {
    if (!(error instanceof PublishError)) throw error;
    return { failed: error.failure, problem: error.problem, reason: error.detail, retry_after: error.retryAfter };
  }
}

/** A value that is to be published. */
function said(item: Item): Value<unknown> {
  const given = { key: item.key.map(integer) as Column[], ttl: item.ttl };
  if (item.unencodable) return { ...given, value: () => {} };
  if (item.codec === "json") return { ...given, value: item.value, codec: json() };
  if (item.codec === "bytes") {
    return { ...given, value: Buffer.from(item.value as string, "base64"), codec: bytes() as Codec<unknown> };
  }
  return { ...given, value: item.value };
}

function typed(call: Call): LoadOptions<unknown> {
  return call.codec === "json" ? { ...options(call), codec: json() } : options(call);
}

function options<T>(call: Call): LoadOptions<T> {
  const { wait, min_position: minPosition, no_cache: noCache, depends: items, position, max_age: maxAge } = call.options ?? {};
  const depends = items?.map(dependency);
  const all = { wait, minPosition, noCache, depends, position, maxAge };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

function dependency(item: Dependency): string {
  if (typeof item === "string") return item;
  if ("table" in item) return table(...item.table);
  if ("tag" in item) return tag(...item.tag);
  const [name, ...columns] = item.row;
  return row(name, ...(columns.map(integer) as Column[]));
}

function integer<T>(value: T | { integer: string }): T | bigint {
  return typeof value === "object" && value !== null && "integer" in value ? BigInt(value.integer) : (value as T);
}

function say(message: object): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

async function hear<T>(): Promise<T | undefined> {
  const line = await lines.next();
  return line.done ? undefined : (JSON.parse(line.value) as T);
}
