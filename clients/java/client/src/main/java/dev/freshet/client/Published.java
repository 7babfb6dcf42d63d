package dev.freshet.client;

import java.time.Instant;

/**
 * The source has all of what was published.
 *
 * @param applied whether this pod's reads see it, or something newer; otherwise its sidecar hasn't read it within 5 s. Reads in
 *     other pods see it when their sidecars have read it
 * @param start since when it is so, by this pod's clock
 * @param publisher the name under which the sidecar publishes now
 * @param sequence the number of the last message among all of this publisher's
 */
public record Published(boolean applied, Instant start, String publisher, long sequence) {}
