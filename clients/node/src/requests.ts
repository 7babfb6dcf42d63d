import { nothing, ofChange, ofGet, type Answer } from "./answer.ts";
import type { Codec } from "./codec.ts";
import { Unavailable, type Exchange, type Request } from "./exchange.ts";
import { path, type Key } from "./keys.ts";

/** More dependencies than this don't fit a header: they are sent as a batch. */
const MOST_DEPENDS = 64;

/**
 * How a loaded value is stored. The loader gets it and may change it: what a page depends on is often known only when it
 * was read.
 */
export interface Fill {
  /** What `table`, `row` and `tag` make: `inventory.product`, `inventory.category/7`, `tag:home`. */
  depends: string[];
  /** At which position the value was read: `cdc="snap:725:727:725"`. */
  position: string | null;
  /** Seconds the value may live, below the cache's `ttl`. */
  maxAge: number | null;
}

/** Tells a mistake. */
export type Tell = (cache: string, problem: string) => void;

export interface Wanted {
  readonly wait: number;
  readonly minPosition?: string | undefined;
  readonly noCache?: boolean | undefined;
  readonly accept?: string | undefined;
}

/** One read. */
export async function get(
  exchange: Exchange, tell: Tell, cache: string, key: Key, wanted: Wanted,
): Promise<Answer<Uint8Array>> {
  const target = path(cache, key);
  if (target === null) return nothing("refused", "key-syntax");
  const headers: Record<string, string> = {};
  if (wanted.wait > 0) headers["Prefer"] = `wait=${Number(wanted.wait.toFixed(3))}`;
  if (wanted.minPosition !== undefined) headers["Freshet-Min-Position"] = wanted.minPosition;
  if (wanted.noCache) headers["Cache-Control"] = "no-cache";
  if (wanted.accept !== undefined) headers["Accept"] = wanted.accept;
  const outcome = await exchange.ask({ method: "GET", path: target, headers, wait: wanted.wait });
  const answer = !(outcome instanceof Unavailable)
    ? ofGet(outcome)
    : nothing(outcome.why === "header" ? "refused" : "unavailable", outcome.why);
  if ((answer.status === "refused" || answer.status === "unavailable") && answer.detail !== "paused") {
    tell(cache, answer.detail ?? "");
  }
  return answer;
}

/** One fill. */
export async function put<T>(
  exchange: Exchange, tell: Tell, cache: string, key: Key, lease: string, value: T | null | undefined, codec: Codec<T>,
  fill: Fill,
): Promise<string> {
  const target = path(cache, key);
  if (target === null) return "key-syntax";
  let body: Uint8Array | null = null;
  try {
    if (value !== null && value !== undefined) body = codec.encode(value);
  } catch {
    tell(cache, "unencodable");
    return "unencodable";
  }
  const build = fill.depends.length > MOST_DEPENDS ? batch : single;
  const outcome = await exchange.ask(build(target, lease, codec.contentType, body, fill));
  if (outcome instanceof Unavailable && outcome.why !== "header") return "unavailable";
  const stored = outcome instanceof Unavailable ? outcome.why : ofChange(outcome, "stored");
  if (stored !== "stored" && stored !== "fenced") tell(cache, stored);
  return stored;
}

function single(target: string, lease: string, type: string, body: Uint8Array | null, fill: Fill): Request {
  const headers: Record<string, string> = { "Freshet-Lease": lease };
  if (body === null) headers["Freshet-Absent"] = "?1";
  else headers["Content-Type"] = type;
  if (fill.depends.length > 0) headers["Freshet-Depends"] = fill.depends.join(", ");
  if (fill.position !== null) headers["Freshet-Position"] = fill.position;
  if (fill.maxAge !== null) headers["Cache-Control"] = `max-age=${Math.max(0, Math.floor(fill.maxAge))}`;
  return { method: "PUT", path: target, headers, body: body ?? new Uint8Array() };
}

function batch(target: string, lease: string, type: string, body: Uint8Array | null, fill: Fill): Request {
  const [, version, cache, ...key] = target.split("/");
  const item = {
    key: key.join("/"),
    lease,
    depends: fill.depends,
    ...(body === null ? { absent: true } : { type, base64: Buffer.from(body).toString("base64") }),
    ...(fill.position === null ? {} : { position: fill.position }),
    ...(fill.maxAge === null ? {} : { maxAge: Math.max(0, Math.floor(fill.maxAge)) }),
  };
  const headers = { "Content-Type": "application/json" };
  return {
    method: "POST", path: `/${version}/${cache}/_batch`, headers, body: Buffer.from(JSON.stringify({ put: [item] })),
    pausable: true,
  };
}

/** Drops a value in this pod. */
export async function remove(exchange: Exchange, cache: string, key: Key): Promise<string> {
  const target = path(cache, key);
  if (target === null) return "key-syntax";
  const outcome = await exchange.ask({ method: "DELETE", path: target, headers: {} });
  return outcome instanceof Unavailable ? "unavailable" : ofChange(outcome, "deleted");
}

/** Voids what depends on a tag in this pod. */
export async function invalidate(exchange: Exchange, text: string): Promise<string> {
  const outcome = await exchange.ask({ method: "POST", path: `/v1/_tags/${encodeURIComponent(text)}`, headers: {} });
  return outcome instanceof Unavailable ? "unavailable" : ofChange(outcome, "invalidated");
}
