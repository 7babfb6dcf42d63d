/**
 * `hit`; `miss`; `stale`: the sidecar can't vouch for its values now; `unavailable`: the sidecar couldn't be asked;
 * `refused`: the request was a mistake, and `detail` names the problem.
 */
export type Status = "hit" | "miss" | "stale" | "unavailable" | "refused";

/** A value and where it came from. */
export interface Answer<T> {
  /** `null` if there is no such row. */
  value: T | null;
  status: Status;
  /**
   * Why, as `Cache-Status` has it; of `unavailable`: `connect`, `timeout`, `closed`, `garbled`, `paused`, `late` (the
   * event loop was too busy to hear the answer) or a problem; of `refused`: the problem.
   */
  detail: string | null;
  /** Whether the cache answered: with a value, or with the knowledge that there is no such row. */
  found: boolean;
  /** Seconds the cached value has left; negative if it is served stale. */
  ttl: number | null;
  /** Seconds since the cached value was stored. */
  age: number | null;
  /** How far of the database's log the cached value reflects at least: the next read's `minPosition`. */
  position: string | null;
  /** On a miss, what a value read from now on is put with. */
  lease: string | null;
  /** On a miss, who is to load: `you` or `other`. */
  fill: string | null;
  /**
   * What became of the loaded value: `stored`, `fenced` (a change came in between), `unavailable`, `unencodable` or a
   * problem; `null` if it wasn't sent.
   */
  stored: string | null;
  /** The media type of what is cached, as it came. */
  contentType: string | null;
}

/** What came over the wire. */
export interface Response {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Uint8Array;
}

/** An answer without a value. */
export function nothing(status: Status, detail: string | null): Answer<Uint8Array> {
  return {
    value: null, status, detail, found: false, ttl: null, age: null, position: null, lease: null, fill: null, stored: null,
    contentType: null,
  };
}

/** Reads the answer to a GET. */
export function ofGet(response: Response): Answer<Uint8Array> {
  const status = cacheStatus(header(response, "cache-status") ?? "");
  if (status === null || (response.status !== 200 && response.status !== 404)) {
    const problem = problemOf(response);
    return problem !== null && response.status < 500
      ? nothing("refused", problem)
      : nothing("unavailable", problem ?? "garbled");
  }
  const hit = status.has("hit");
  return {
    value: response.status === 200 ? response.body : null,
    status: hit ? "hit" : status.get("fwd") === "stale" ? "stale" : "miss",
    detail: status.get("detail") ?? null,
    found: hit || response.status === 200,
    ttl: integer(status.get("ttl")),
    age: integer(header(response, "age")),
    position: header(response, "freshet-position"),
    lease: header(response, "freshet-lease"),
    fill: header(response, "freshet-fill"),
    stored: null,
    contentType: header(response, "content-type"),
  };
}

/** What became of a PUT or DELETE, or of the one fill of a batch. */
export function ofChange(response: Response, done: string): string {
  if (response.status === 204) return done;
  const fill = response.status === 200 ? (parsed(response) as Batch | null)?.put?.[0] : undefined;
  if (fill?.status === 204) return done;
  return (fill ? lastWord(fill.problem) : problemOf(response)) ?? `http-${response.status}`;
}

interface Batch {
  put?: { status?: unknown; problem?: unknown }[];
}

/** The last word of a problem's type, if it is a problem. */
export function problemOf(response: Response): string | null {
  if (!header(response, "content-type")?.startsWith("application/problem+json")) return null;
  return lastWord(parsed(response));
}

function lastWord(problem: unknown): string | null {
  const type = (problem as { type?: unknown } | null)?.type;
  return typeof type === "string" ? type.slice(type.lastIndexOf("/") + 1) : null;
}

/** Seconds after which it may be asked again, where that is said. */
export function retryAfter(response: Response): number | null {
  return integer(header(response, "retry-after"));
}

/** The body's JSON, `null` where it is none. */
export function parsed(response: Response): unknown {
  try {
    return JSON.parse(Buffer.from(response.body).toString());
  } catch {
    return null;
  }
}

/** The parameters of our member of a `Cache-Status` (RFC 9211). */
function cacheStatus(text: string): Map<string, string> | null {
  for (const member of text.split(",")) {
    const [name, ...parameters] = member.split(";").map((part) => part.trim());
    if (name !== "freshet") continue;
    return new Map(
      parameters.map((parameter) => {
        const [key = "", ...value] = parameter.split("=");
        return [key, value.join("=").replaceAll('"', "")];
      }),
    );
  }
  return null;
}

function header(response: Response, name: string): string | null {
  const value = response.headers[name];
  return (Array.isArray(value) ? value.join(", ") : value) ?? null;
}

function integer(text: string | null | undefined): number | null {
  return text && /^-?[0-9]+$/.test(text) ? Number(text) : null;
}
