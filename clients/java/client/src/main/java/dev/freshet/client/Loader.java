package dev.freshet.client;

/**
 * Reads a value from the database, outside any transaction that has written.
 *
 * @param <E> what it throws; use {@link RuntimeException} for nothing in particular
 */
@FunctionalInterface
public interface Loader<T, E extends Exception> {
    /** The value, or null if there is no such row, which is cached, too. */
    T load(Fill fill) throws E;
}
