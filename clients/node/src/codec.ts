import { Decoder, Encoder } from "cbor-x";

/**
 * How values become bytes and back. A stored value that `decode` throws for is loaded anew and replaced, so a changed
 * codec mends itself.
 */
export interface Codec<T> {
  /** Stored with the bytes. */
  readonly contentType: string;
  encode(value: T): Uint8Array;
  decode(bytes: Uint8Array): T;
  /** What reads are sent with as `Accept`: the types that are decoded. Without it, what is stored comes as it is. */
  readonly accept?: string;
  /** Decodes what is stored with this content type. Without it `decode` is tried. */
  decodeType?(contentType: string, bytes: Uint8Array): T;
}

// Records are cbor-x's own: nobody else reads them.
const encoder = new Encoder({ useRecords: false, variableMapSize: true, tagUint8Array: false });
const decoder = new Decoder({ useRecords: false, mapsAsObjects: true });

/**
 * CBOR. Integers beyond `Number.MAX_SAFE_INTEGER` are bigints when they come from the cache, and a `Date` is one. JSON is read,
 * too.
 */
export function cbor<T>(): Codec<T> {
  const decode = (bytes: Uint8Array): T => decoder.decode(bytes) as T;
  return {
    contentType: "application/cbor",
    // Converted, because JSON.parse would spoil large integers.
    accept: "application/cbor, application/json;q=0.9, */*;q=0.1",
    encode(value) {
      if (typeof value === "function" || typeof value === "symbol") throw new TypeError("the value isn't CBOR");
      return encoder.encode(value);
    },
    decode,
    decodeType(contentType, bytes) {
      if (is(contentType, "cbor")) return decode(bytes);
      if (is(contentType, "json")) return parse<T>(bytes);
      throw new TypeError(`the value is of type ${contentType}, neither CBOR nor JSON`);
    },
  };
}

/** JSON. CBOR is read, too. What isn't JSON, such as a `Date`, is what `JSON.stringify` makes of it when it comes from the cache. */
export function json<T>(): Codec<T> {
  return {
    contentType: "application/json",
    accept: "application/json, application/cbor;q=0.9, */*;q=0.1",
    encode(value) {
      const text: string | undefined = JSON.stringify(value);
      if (text === undefined) throw new TypeError("the value isn't JSON");
      return Buffer.from(text);
    },
    decode: parse<T>,
    decodeType: (contentType, bytes) => (is(contentType, "cbor") ? (decoder.decode(bytes) as T) : parse<T>(bytes)),
  };
}

function parse<T>(bytes: Uint8Array): T {
  return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as T;
}

/** Whether values of this type are written in this codec. */
function is(contentType: string, codec: "cbor" | "json"): boolean {
  const essence = (contentType.split(";")[0] ?? "").trim().toLowerCase();
  return essence === `application/${codec}` || essence.endsWith(`+${codec}`);
}

/** Bytes as they are. */
export function bytes(contentType = "application/octet-stream"): Codec<Uint8Array> {
  return { contentType, encode: (value) => value, decode: (value) => value };
}
