import { places } from "./address.ts";
import type { Answer } from "./answer.ts";
import { cbor, type Codec } from "./codec.ts";
import { Exchange } from "./exchange.ts";
import type { Key } from "./keys.ts";
import { publish, type Publication, type Published } from "./publish.ts";
import { get, invalidate, put, remove, type Fill } from "./requests.ts";

export interface ClientOptions {
  /**
   * A socket's path or a URL. Without it `FRESHET_SOCKET` and `FRESHET_URL` are tried in this order, and without these
   * the places where a sidecar listens by default.
   */
  readonly address?: string;
  /** Bounds each request, connecting included, in seconds; a read that waits may take `wait` longer. Default: 0.25. */
  readonly timeout?: number;
  /** How long somebody else's load, or the log, is waited for unless a read says otherwise, in seconds. Default: 1. */
  readonly wait?: number;
  /** How many unused connections are kept. Default: 32. */
  readonly maxIdle?: number;
  /** Is told of each kind of mistake once. Default: `process.emitWarning`. */
  readonly onProblem?: (cache: string, problem: string) => void;
}

export interface ReadOptions {
  /** How long somebody else's load, or the log, is waited for, in seconds. */
  readonly wait?: number;
  /** Asks for a value that reflects at least this position, one's own writes: `cdc="lsn:0/157D6E8"`. */
  readonly minPosition?: string;
  /** Loads in any case and replaces what is stored. */
  readonly noCache?: boolean;
}

export interface FillOptions<T> {
  /** Default: `cbor()`. */
  readonly codec?: Codec<T>;
  /** Dependencies besides the cache's own, made by `table`, `row` and `tag`. */
  readonly depends?: readonly string[];
  /** At which position the value is read: `cdc="snap:725:727:725"`. */
  readonly position?: string;
  /** Seconds the value may live, below the cache's `ttl`. */
  readonly maxAge?: number;
}

export interface LoadOptions<T> extends ReadOptions, FillOptions<T> {}

type Maybe<T> = T | null | undefined;

/** Reads through one sidecar. Nothing is connected before the first read. */
export class Client {
  readonly #exchange: Exchange;
  readonly #wait: number;
  readonly #onProblem: (cache: string, problem: string) => void;
  readonly #told = new Set<string>();

  constructor(options: ClientOptions = {}) {
    const { timeout = 0.25, wait = 1, maxIdle = 32 } = options;
    this.#exchange = new Exchange(places(options.address), timeout, maxIdle);
    this.#wait = wait;
    this.#onProblem =
      options.onProblem ?? ((cache, problem) => process.emitWarning(`cache ${cache}: ${problem}`, "FreshetWarning"));
  }

  /**
   * The cached value, or what `loader` reads, which is then stored.
   *
   * `loader` reads the database, outside any transaction that has written; `null` and `undefined` stand for "there is no
   * such row", which is cached, too. What it throws is passed on, and nothing else is thrown.
   */
  async getOrLoad<T>(
    cache: string, key: Key, loader: (fill: Fill) => Maybe<T> | Promise<Maybe<T>>, options: LoadOptions<T> = {},
  ): Promise<Answer<T>> {
    const { codec = cbor<T>(), wait = this.#wait, minPosition, noCache } = options;
    // Whoever is behind waits for the log from the start. Whoever finds somebody loading asks again, and then waits: that
    // sidecar is known to answer.
    const first = minPosition === undefined ? 0 : wait;
    const { accept } = codec;
    let found = await get(this.#exchange, this.#tell, cache, key, { wait: first, minPosition, noCache, accept });
    if (found.fill === "other" && wait > 0 && first === 0 && !noCache) {
      found = await get(this.#exchange, this.#tell, cache, key, { wait, accept });
    }
    if (found.found) {
      if (found.value === null) return { ...found, value: null };
      try {
        const value =
          codec.decodeType === undefined ? codec.decode(found.value) : codec.decodeType(found.contentType ?? "", found.value);
        return { ...found, value };
      } catch {
        this.#tell(cache, "undecodable");
      }
      // Another version of the application stored it. It is replaced.
      found = await get(this.#exchange, this.#tell, cache, key, { wait: 0, noCache: true });
      found.detail = "undecodable";
    }
    const fill = fillOf(options);
    const value = (await loader(fill)) ?? null;
    const stored =
      found.lease === null ? null : await put(this.#exchange, this.#tell, cache, key, found.lease, value, codec, fill);
    return { ...found, value, stored };
  }

  /** What is cached, as the bytes that are stored; on a miss with a lease for `put`. It waits only if it is told to. */
  get(cache: string, key: Key, options: ReadOptions = {}): Promise<Answer<Uint8Array>> {
    return get(this.#exchange, this.#tell, cache, key, { wait: 0, ...options });
  }

  /** Stores what was read after `lease` was given: `stored`, `fenced`, `unavailable`, `unencodable` or a problem. */
  put<T>(cache: string, key: Key, lease: string, value: Maybe<T>, options: FillOptions<T> = {}): Promise<string> {
    const codec = options.codec ?? cbor<T>();
    return put(this.#exchange, this.#tell, cache, key, lease, value, codec, fillOf(options));
  }

  /** Drops a value in this pod: `deleted`, `unavailable` or a problem. It is tried even while reads are paused. */
  delete(cache: string, key: Key): Promise<string> {
    return remove(this.#exchange, cache, key);
  }

  /**
   * Voids what depends on a tag in this pod: `invalidated`, `unavailable` or a problem. As `delete`, it is always tried.
   */
  invalidateTag(text: string): Promise<string> {
    return invalidate(this.#exchange, text);
  }

  /**
   * Tells every pod whose sidecar follows the cache's source what is so from now on. The cache is `published`.
   *
   * It answers when the source has all of it, and this pod's reads see it, within 6 s and `timeout`. It throws a
   * `PublishError`, and for what can't be a key a `TypeError`. Nothing is tried again by itself: whoever publishes once more,
   * later, wins over what others have published meanwhile, and only the application knows what holds by then. As `delete`, it
   * is always tried.
   */
  publish<T>(cache: string, publication: Publication<T>): Promise<Published> {
    return publish(this.#exchange, cache, publication);
  }

  /** Closes all connections. A closed client can be used again. */
  close(): void {
    this.#exchange.close();
  }

  readonly #tell = (cache: string, problem: string): void => {
    const mistake = `${cache} ${problem}`;
    if (this.#told.has(mistake)) return;
    this.#told.add(mistake);
    this.#onProblem(cache, problem);
  };
}

function fillOf(options: Omit<FillOptions<unknown>, "codec">): Fill {
  return {
    depends: [...(options.depends ?? [])],
    position: options.position ?? null,
    maxAge: options.maxAge ?? null,
  };
}
