import { createHash } from "node:crypto";

/** A column of a key. Numbers are safe integers; larger ones are bigints. */
export type Column = string | number | bigint | boolean;

/** A column, or several in order. */
export type Key = Column | readonly Column[];

/** A parameter of a query. Numbers are safe integers; larger ones are bigints, of 64 bits with a sign. */
export type Parameter = Column | null;

/** The path of a key, one segment per column; `null` where a column's text isn't Unicode. */
export function path(cache: string, key: Key): string | null {
  const columns = texts(key);
  try {
    const escaped = columns.map(encodeURIComponent);
    if (escaped[0]?.startsWith("_")) escaped[0] = "%5F" + escaped[0].slice(1);
    return ["/v1", encodeURIComponent(cache), ...escaped].join("/");
  } catch (error) {
    if (error instanceof URIError) return null;
    throw error;
  }
}

/** A key's columns as texts, not encoded; `null` where one isn't Unicode. */
export function segments(key: Key): string[] | null {
  const columns = texts(key);
  return columns.some((column) => /\p{Surrogate}/u.test(column)) ? null : columns;
}

/** A dependency on all of a table, by the name that the binding has: `inventory.product`. */
export function table(name: string): string {
  return encodeURIComponent(name);
}

/** A dependency on a row, by its key's columns in the order of the table's change events. */
export function row(name: string, ...columns: Column[]): string {
  return [name, ...columns.map(text)].map(encodeURIComponent).join("/");
}

/** A dependency on what `invalidateTag` says. */
export function tag(text: string): string {
  return `tag:${encodeURIComponent(text)}`;
}

/**
 * The key of a whole query: `q-` and 32 hexadecimal digits, alike in all of Freshet's clients. Throws for parameters of
 * other types, integers of more than 64 bits, and texts that aren't Unicode.
 */
export function queryKey(text: string, parameters: readonly Parameter[] = []): string {
  const canonical = `[${[text, ...parameters].map(literal).join(",")}]`;
  return "q-" + createHash("sha256").update(canonical).digest("hex").slice(0, 32);
}

function texts(key: Key): string[] {
  return ((Array.isArray(key) ? key : [key]) as readonly Column[]).map(text);
}

function text(column: Column): string {
  if (typeof column === "number" && !Number.isSafeInteger(column)) {
    throw new TypeError(`a key's numbers are safe integers, unlike ${column}`);
  }
  if (!["string", "number", "bigint", "boolean"].includes(typeof column)) {
    throw new TypeError(`a key's columns are texts, integers and booleans, not ${typeof column}`);
  }
  // -0 is 0.
  return String(column);
}

function literal(parameter: Parameter): string {
  if (parameter === null) return "null";
  if (typeof parameter === "string") {
    // Written out, a lone surrogate would be six characters; nothing of UTF-8 stands for it.
    if (/\p{Surrogate}/u.test(parameter)) throw new TypeError("a query's texts are Unicode");
    return JSON.stringify(parameter);
  }
  if (typeof parameter === "bigint" && BigInt.asIntN(64, parameter) !== parameter) {
    throw new TypeError(`a query's integers have 64 bits, unlike ${parameter}`);
  }
  return text(parameter);
}
