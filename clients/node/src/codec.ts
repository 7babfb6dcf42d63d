/**
 * How values become bytes and back. A stored value that `decode` throws for is loaded anew and replaced, so a changed
 * codec mends itself.
 */
export interface Codec<T> {
  /** Stored with the bytes. */
  readonly contentType: string;
  encode(value: T): Uint8Array;
  decode(bytes: Uint8Array): T;
}

/** JSON. What isn't JSON, such as a `Date`, is what `JSON.stringify` makes of it when it comes from the cache. */
export function json<T>(): Codec<T> {
  return {
    contentType: "application/json",
    encode(value) {
      const text: string | undefined = JSON.stringify(value);
      if (text === undefined) throw new TypeError("the value isn't JSON");
      return Buffer.from(text);
    },
    decode: (bytes) => JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as T,
  };
}

/** Bytes as they are. */
export function bytes(contentType = "application/octet-stream"): Codec<Uint8Array> {
  return { contentType, encode: (value) => value, decode: (value) => value };
}
