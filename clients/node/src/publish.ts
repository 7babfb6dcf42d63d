import { parsed, problemOf, retryAfter, type Response } from "./answer.ts";
import { cbor, type Codec } from "./codec.ts";
import { Unavailable, type Exchange } from "./exchange.ts";
import { segments, type Key } from "./keys.ts";

/** Seconds within which a sidecar that isn't hung has answered: it waits 5 s for its source. */
const PATIENCE = 6;

/** What a key's value is from now on. */
export interface Value<T> {
  /** A column or several. */
  readonly key: Key;
  readonly value: T;
  /** Seconds for which it is good, at least 0.001; never longer than the cache's `ttl`. */
  readonly ttl: number;
  /** Default: `cbor()`. */
  readonly codec?: Codec<T>;
}

/** What is so from now on, in this order. At most 1 000 keys and values in all. */
export interface Publication<T> {
  /** Voids all values of the cache. */
  readonly clear?: boolean;
  /** Keys that have no value any more. */
  readonly delete?: readonly Key[];
  /** Values that keys have; of two for one key the last one counts. */
  readonly put?: readonly Value<T>[];
}

/** The source has all of what was published. */
export interface Published {
  /**
   * Whether this pod's reads see it, or something newer. Otherwise its sidecar hasn't read it within 5 s. Reads in other pods
   * see it when their sidecars have read it.
   */
  readonly applied: boolean;
  /** Since when it is so, by this pod's clock: milliseconds since the Unix epoch. */
  readonly start: number;
  /** The name under which the sidecar publishes now. */
  readonly publisher: string;
  /** The number of the last message among all of this publisher's. */
  readonly sequence: number;
}

/**
 * `mistake`: the request was one, and nothing was published: the cache isn't published (`not-published`), or its source can't
 * be written to (`not-publishable`), a value has no `ttl` or is too large, a key is none (`key-syntax`), a value can't be
 * encoded (`unencodable`).
 *
 * `refused`: the source doesn't take it. Nothing was published, or a part: `detail` says which.
 *
 * `unavailable`: nothing was published, for now: nobody listens (`connect`), or the sidecar has no connection to the source
 * (`publish-unavailable`). It can be tried again, after `retryAfter` seconds.
 *
 * `unknown`: it may have been published, or may be yet: the source hasn't answered the sidecar in time (`publish-unknown`),
 * or the sidecar hasn't answered at all (`timeout`, `late`, `closed`, `garbled`). Publish what holds by then, rather than the
 * same again: that would win over what others have published meanwhile.
 */
export type PublishFailure = "mistake" | "refused" | "unavailable" | "unknown";

/** Something wasn't published, or nobody knows whether it was. */
export class PublishError extends Error {
  override readonly name = "PublishError";
  readonly failure: PublishFailure;
  /** Why, in a word: the last one of a problem's type, or a client's own such as `connect`. */
  readonly problem: string;
  /** Why, in a sentence of the sidecar's. */
  readonly detail: string | null;
  /** Seconds after which it may be tried again, where the sidecar has said so. */
  readonly retryAfter: number | null;

  constructor(failure: PublishFailure, problem: string, more: { detail?: string | null; retryAfter?: number | null; cause?: unknown } = {}) {
    super(more.detail ? `${problem}: ${more.detail}` : problem, more.cause === undefined ? {} : { cause: more.cause });
    this.failure = failure;
    this.problem = problem;
    this.detail = more.detail ?? null;
    this.retryAfter = more.retryAfter ?? null;
  }
}

/** Tells every pod what is so from now on. */
export async function publish<T>(exchange: Exchange, cache: string, publication: Publication<T>): Promise<Published> {
  const body = Buffer.from(written(publication));
  const path = `/v1/${encodeURIComponent(cache)}/_publish`;
  const headers = { "Content-Type": "application/json" };
  return outcome(await exchange.ask({ method: "POST", path, headers, body, wait: PATIENCE, once: true }));
}

function written<T>({ clear = false, delete: keys = [], put = [] }: Publication<T>): string {
  const deleted = keys.map((key) => JSON.stringify(columns(key)));
  const items = put.map((item) => {
    // What is no number is no `ttl`: `null`, which the sidecar refuses.
    const members = `"key": ${JSON.stringify(columns(item.key))}, "ttl": ${JSON.stringify(Math.round(item.ttl * 1000))}`;
    return `{${members}, ${valueOf(item)}}`;
  });
  return `{"clear": ${clear}, "delete": [${deleted.join(", ")}], "put": [${items.join(", ")}]}`;
}

function columns(key: Key): string[] {
  const texts = segments(key);
  if (texts === null) throw new PublishError("mistake", "key-syntax");
  return texts;
}

/** The members that say what the value is. JSON stands there as it was written; whoever looks at the source can read it. */
function valueOf<T>({ value, codec = cbor<T>() }: Value<T>): string {
  let bytes: Uint8Array;
  try {
    bytes = codec.encode(value);
  } catch (cause) {
    throw new PublishError("mistake", "unencodable", { detail: String(cause), cause });
  }
  if (codec.contentType === "application/json") {
    const text = jsonOf(bytes);
    // What a codec calls JSON and isn't is published as it is.
    if (text !== null) return `"value": ${text}`;
  }
  return `"type": ${JSON.stringify(codec.contentType)}, "base64": "${Buffer.from(bytes).toString("base64")}"`;
}

function jsonOf(bytes: Uint8Array): string | null {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    JSON.parse(text);
    return text;
  } catch {
    return null;
  }
}

function outcome(answer: Response | Unavailable): Published {
  if (answer instanceof Unavailable) throw new PublishError(answer.why === "connect" ? "unavailable" : "unknown", answer.why);
  const said = parsed(answer) as (Partial<Published> & { detail?: unknown }) | null;
  if (answer.status === 200 || answer.status === 202) {
    const { applied, start, publisher, sequence } = said ?? {};
    const whole = typeof applied === "boolean" && typeof publisher === "string";
    if (!whole || typeof start !== "number" || typeof sequence !== "number") throw new PublishError("unknown", "garbled");
    return { applied, start, publisher, sequence };
  }
  const problem = problemOf(answer);
  if (problem === null) throw new PublishError("unknown", "garbled");
  const detail = typeof said?.detail === "string" ? said.detail : null;
  throw new PublishError(failure(answer.status), problem, { detail, retryAfter: retryAfter(answer) });
}

function failure(status: number): PublishFailure {
  if (status >= 400 && status < 500) return "mistake";
  return status === 502 ? "refused" : status === 503 ? "unavailable" : "unknown";
}
