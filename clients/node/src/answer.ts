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
  };
}

/** What became of a PUT or DELETE. */
export function ofChange(response: Response, done: string): string {
  return response.status === 204 ? done : (problemOf(response) ?? `http-${response.status}`);
}

/** The last word of a problem's type, if it is a problem. */
function problemOf(response: Response): string | null {
  if (!header(response, "content-type")?.startsWith("application/problem+json")) return null;
  try {
    const problem = JSON.parse(Buffer.from(response.body).toString()) as { type?: unknown };
    return typeof problem.type === "string" ? problem.type.slice(problem.type.lastIndexOf("/") + 1) : null;
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
