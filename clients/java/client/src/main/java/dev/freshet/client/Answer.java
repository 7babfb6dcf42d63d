package dev.freshet.client;

import java.time.Duration;

/**
 * A value and where it came from, for logs and metrics. What isn't known is null.
 *
 * @param value the value; null if there is no such row
 * @param status where it came from
 * @param detail why, as {@code Cache-Status} has it; of {@link Status#UNAVAILABLE}: {@code connect}, {@code timeout},
 *     {@code closed}, {@code garbled}, {@code paused} or a problem; of {@link Status#REFUSED}: the problem
 * @param found whether the cache answered: with a value, or with the knowledge that there is no such row
 * @param ttl what the cached value has left; negative if it is served stale
 * @param age since when the cached value is stored
 * @param position how far of the database's log the cached value reflects at least: the next read's {@code minPosition}
 * @param lease on a miss, what a value read from now on is put with
 * @param fill on a miss, who is to load: {@code you} or {@code other}
 * @param stored what became of the loaded value: {@code stored}, {@code fenced} (a change came in between),
 *     {@code unavailable}, {@code unencodable} or a problem; null if it wasn't sent
 * @param contentType the media type of what is cached, as it came
 */
public record Answer<T>(
        T value,
        Status status,
        String detail,
        boolean found,
        Duration ttl,
        Duration age,
        String position,
        String lease,
        String fill,
        String stored,
        String contentType) {
    static <T> Answer<T> nothing(Status status, String detail) {
        return new Answer<>(null, status, detail, false, null, null, null, null, null, null, null);
    }

    <U> Answer<U> with(U value, String stored) {
        return new Answer<>(value, status, detail, found, ttl, age, position, lease, fill, stored, contentType);
    }

    Answer<T> because(String detail) {
        return new Answer<>(value, status, detail, found, ttl, age, position, lease, fill, stored, contentType);
    }
}
