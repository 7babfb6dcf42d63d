package dev.freshet.client;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/**
 * How a loaded value is stored. The loader gets it and may say more: what a page depends on is often known only when it
 * was read.
 */
public final class Fill {
    final List<String> depends;
    String position;
    Duration maxAge;

    Fill(Options options) {
        depends = new ArrayList<>(options.depends());
        position = options.position();
        maxAge = options.maxAge();
    }

    /** Adds what {@link Dependency} makes: {@code inventory.product}, {@code inventory.category/7}, {@code tag:home}. */
    public Fill dependsOn(String item) {
        depends.add(item);
        return this;
    }

    /** At which position the value was read: {@code cdc="snap:725:727:725"}. */
    public Fill position(String position) {
        this.position = position;
        return this;
    }

    /** How long the value may live, below the cache's {@code ttl}, in whole seconds. */
    public Fill maxAge(Duration maxAge) {
        this.maxAge = maxAge;
        return this;
    }
}
