package dev.freshet.client;

import java.time.Duration;
import java.util.List;

/**
 * How a value is read, and how it is stored if it is loaded: {@code Options.NONE.withMaxAge(…)}.
 *
 * @param waiting how long somebody else's load, or the log, is waited for; null: as long as the client waits by default, where
 *     there is a loader, otherwise not at all
 * @param minPosition a position that the value has to reflect at least, of one's own writes: {@code cdc="lsn:0/157D6E8"}
 * @param noCache loads in any case and replaces what is stored
 * @param depends dependencies besides the cache's own, made by {@link Dependency}
 * @param position at which position the value is read: {@code cdc="snap:725:727:725"}
 * @param maxAge how long the value may live, below the cache's {@code ttl}, in whole seconds
 */
public record Options(
        Duration waiting, String minPosition, boolean noCache, List<String> depends, String position, Duration maxAge) {
    /** Nothing out of the ordinary. */
    public static final Options NONE = new Options(null, null, false, List.of(), null, null);

    /** The same with another {@code waiting}. */
    public Options withWaiting(Duration waiting) {
        return new Options(waiting, minPosition, noCache, depends, position, maxAge);
    }

    /** The same with another {@code minPosition}. */
    public Options withMinPosition(String minPosition) {
        return new Options(waiting, minPosition, noCache, depends, position, maxAge);
    }

    /** The same with another {@code noCache}. */
    public Options withNoCache(boolean noCache) {
        return new Options(waiting, minPosition, noCache, depends, position, maxAge);
    }

    /** The same with other {@code depends}. */
    public Options withDepends(List<String> depends) {
        return new Options(waiting, minPosition, noCache, List.copyOf(depends), position, maxAge);
    }

    /** The same with another {@code position}. */
    public Options withPosition(String position) {
        return new Options(waiting, minPosition, noCache, depends, position, maxAge);
    }

    /** The same with another {@code maxAge}. */
    public Options withMaxAge(Duration maxAge) {
        return new Options(waiting, minPosition, noCache, depends, position, maxAge);
    }
}
