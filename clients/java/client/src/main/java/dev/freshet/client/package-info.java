/**
 * Reads through a Freshet sidecar, and past it when it is down.
 *
 * <pre>{@code
 * Client client = new Client();
 * Product product = client.getOrLoad("products", Key.of(7), codec, fill -> read(7)).value();
 * }</pre>
 *
 * Whatever becomes of the sidecar, the loader is called and its value returned: no exception of a read comes from the cache. What
 * can't be published is a {@link dev.freshet.client.PublishException}.
 */
package dev.freshet.client;
