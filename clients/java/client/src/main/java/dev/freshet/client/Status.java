package dev.freshet.client;

/** Where a value came from, or why it didn't come from the cache. */
public enum Status {
    /** The cache answered. */
    HIT,
    /** Nothing is cached. */
    MISS,
    /** The sidecar can't vouch for its values now. */
    STALE,
    /** The sidecar couldn't be asked. */
    UNAVAILABLE,
    /** The request was a mistake; the detail names the problem. */
    REFUSED
}
