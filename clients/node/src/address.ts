/** A Unix socket or a TCP port. */
export type Place = { readonly path: string } | { readonly host: string; readonly port: number };

const SOCKET = "/run/freshet/freshet.sock";
const URL_OF_DEFAULT = "http://127.0.0.1:3737";

/** Where the sidecar listens, in the order in which it is tried. */
export function places(given: string | undefined, environment: NodeJS.ProcessEnv = process.env): Place[] {
  if (given !== undefined) return [parse(given)];
  const said = [environment["FRESHET_SOCKET"], environment["FRESHET_URL"]].filter((text) => !!text) as string[];
  return (said.length > 0 ? said : [SOCKET, URL_OF_DEFAULT]).map(parse);
}

function parse(text: string): Place {
  if (text.startsWith("/")) return { path: text };
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url?.protocol !== "http:" || url.pathname !== "/" || url.search || url.hash || url.username) {
    throw new TypeError(`a sidecar's address is a socket's path or a URL like ${URL_OF_DEFAULT}, not "${text}"`);
  }
  return { host: url.hostname.replace(/^\[|\]$/g, ""), port: Number(url.port || 80) };
}
