import { Agent, request as send, type AgentOptions, type ClientRequest, type IncomingMessage } from "node:http";
import { connect, type NetConnectOpts, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Place } from "./address.ts";
import type { Response } from "./answer.ts";

const MOST_OF_A_HEAD = 64 << 10;
const MOST_OF_A_BODY = 64 << 20;
/** The sidecar closes an unused connection after 75 s. */
const IDLE = 60_000;
const MOST_TIMEOUTS = 3;
const PAUSE = 1_000;
/** Milliseconds after which a time-out isn't the sidecar's but the event loop's own. */
const LATE = 50;

export interface Request {
  readonly method: "GET" | "PUT" | "POST" | "DELETE";
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** Seconds for which the answer may be held back because it was asked for. */
  readonly wait?: number;
  /** Whether it may be left unsent while the sidecar hangs, as every GET and PUT may. */
  readonly pausable?: boolean;
  /**
   * Whether it goes over a connection of its own, and so never twice: of one that was used before nobody knows whether it was
   * closed before the request or because of it.
   */
  readonly once?: boolean;
}

/** Why there is no answer, in a word. */
export class Unavailable extends Error {
  readonly why: string;

  constructor(why: string) {
    super(why);
    this.why = why;
  }
}

/** Carries requests to the sidecar, over connections that are used again. */
export class Exchange {
  readonly #agent: Agent;
  /** Keeps no connection. */
  readonly #single: Agent;
  readonly #timeout: number;
  readonly #health = new Health();

  constructor(places: Place[], timeout: number, maxIdle: number) {
    this.#agent = new Connections(places, { keepAlive: true, maxFreeSockets: maxIdle, timeout: IDLE });
    this.#single = new Connections(places, { keepAlive: false });
    this.#timeout = timeout;
  }

  async ask(request: Request): Promise<Response | Unavailable> {
    if (Object.values(request.headers).some((value) => /[^ -~]/.test(value))) return new Unavailable("header");
    const mayPause = request.pausable || request.method === "GET" || request.method === "PUT";
    if (mayPause && this.#health.pauses(performance.now())) return new Unavailable("paused");
    const deadline = performance.now() + (this.#timeout + (request.wait ?? 0)) * 1_000;
    const outcome = await this.#once(request, deadline, true);
    this.#health.saw(outcome, performance.now());
    return outcome;
  }

  close(): void {
    this.#agent.destroy();
    this.#single.destroy();
  }

  async #once(request: Request, deadline: number, again: boolean): Promise<Response | Unavailable> {
    const { method, path, body } = request;
    const headers: Record<string, string | number> = { ...request.headers, Host: "freshet" };
    if (method === "PUT" || method === "POST") headers["Content-Length"] = body?.byteLength ?? 0;
    const agent = request.once ? this.#single : this.#agent;
    const sent = send({ agent, method, path, headers, maxHeaderSize: MOST_OF_A_HEAD });
    const end = (): void => {
      sent.destroy(new Unavailable(performance.now() - deadline > LATE ? "late" : "timeout"));
    };
    // What came while the event loop was busy with something else is read before the next turn's immediates.
    const timer = setTimeout(() => setImmediate(end), Math.max(0, deadline - performance.now()));
    try {
      sent.end(body);
      return await answer(sent);
    } catch (error) {
      const failed = error instanceof Unavailable ? error : new Unavailable(reason(error));
      // It was closed while it was idle. That request was never read.
      if (again && sent.reusedSocket && failed.why === "closed") return await this.#once(request, deadline, again);
      return failed;
    } finally {
      clearTimeout(timer);
    }
  }
}

function answer(sent: ClientRequest): Promise<Response> {
  return new Promise((resolve, reject) => {
    sent.on("error", reject);
    sent.on("response", (incoming: IncomingMessage) => {
      const chunks: Uint8Array[] = [];
      let length = 0;
      incoming.on("data", (chunk: Uint8Array) => {
        chunks.push(chunk);
        length += chunk.byteLength;
        if (length > MOST_OF_A_BODY) sent.destroy(new Unavailable("garbled"));
      });
      incoming.on("error", (error) => reject(error instanceof Unavailable ? error : new Unavailable("garbled")));
      incoming.on("end", () => {
        resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: Buffer.concat(chunks) });
      });
    });
  });
}

function reason(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code ?? "";
  return code === "ECONNRESET" || code === "EPIPE" ? "closed" : "garbled";
}

/** Connects to the first place where somebody listens. */
class Connections extends Agent {
  readonly #places: Place[];

  constructor(places: Place[], options: AgentOptions) {
    super(options);
    this.#places = places;
  }

  override createConnection(_: object, done: (error: Error | null, stream: Duplex) => void): undefined {
    // Where it fails there is no stream.
    const fail = done as (error: Error) => void;
    this.#connect().then((socket) => done(null, socket), fail);
  }

  async #connect(): Promise<Socket> {
    for (const place of this.#places) {
      try {
        return await connected({ ...place, noDelay: true } as NetConnectOpts);
      } catch {
        // The next place.
      }
    }
    throw new Unavailable("connect");
  }
}

function connected(place: NetConnectOpts): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(place);
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject);
      resolve(socket);
    });
  });
}

/**
 * Keeps a hung sidecar from slowing the application down: after three time-outs in a row only one request per second is
 * tried, until one is answered. A sidecar that isn't there costs nothing and is tried each time.
 */
class Health {
  #timeouts = 0;
  #resume = 0;

  pauses(now: number): boolean {
    if (this.#timeouts < MOST_TIMEOUTS) return false;
    if (now < this.#resume) return true;
    this.#resume = now + PAUSE;
    return false;
  }

  saw(outcome: Response | Unavailable, now: number): void {
    if (!(outcome instanceof Unavailable)) {
      this.#timeouts = 0;
    } else if (outcome.why === "timeout") {
      this.#timeouts += 1;
      this.#resume = now + PAUSE;
    }
  }
}
