/** Reads through a Freshet sidecar, and past it when it is down. */

export type { Answer, Status } from "./answer.ts";
export { Client, type ClientOptions, type FillOptions, type LoadOptions, type ReadOptions } from "./client.ts";
export { bytes, cbor, json, type Codec } from "./codec.ts";
export { queryKey, row, table, tag, type Column, type Key, type Parameter } from "./keys.ts";
export { PublishError, type Publication, type Published, type PublishFailure, type Value } from "./publish.ts";
export type { Fill } from "./requests.ts";
