/**
 * Reads through a Freshet sidecar, and past it when it is down.
 *
 * <pre>{@code
 * Client client = new Client();
 * Product product = client.getOrLoad("products", Key.of(7), codec, fill -> read(7)).value();
 * }</pre>
 *
 * Whatever becomes of the sidecar, the loader is called and its value returned: no exception comes from the cache.
 */
package dev.freshet.client;
