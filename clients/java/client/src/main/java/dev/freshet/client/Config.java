package dev.freshet.client;

import java.time.Duration;
import java.util.function.BiConsumer;

/**
 * Where the sidecar is and how long it may take: {@code Config.DEFAULT.withTimeout(…)}.
 *
 * @param address a socket's path or a URL; null: {@code FRESHET_SOCKET} and {@code FRESHET_URL} are tried in this order, and
 *     without these the places where a sidecar listens by default
 * @param timeout bounds each request; a read that waits may take as much longer as it waits
 * @param connectTimeout bounds connecting
 * @param waiting how long somebody else's load, or the log, is waited for unless a read says otherwise
 * @param maxIdle how many unused connections are kept
 * @param onProblem is told of each kind of mistake once, by cache and problem
 */
public record Config(
        String address,
        Duration timeout,
        Duration connectTimeout,
        Duration waiting,
        int maxIdle,
        BiConsumer<String, String> onProblem) {
    /** 250 ms, 50 ms to connect, 1 s to wait, 32 connections, and mistakes go to the logger of this package. */
    public static final Config DEFAULT =
            new Config(null, Duration.ofMillis(250), Duration.ofMillis(50), Duration.ofSeconds(1), 32, Config::log);

    /** The same with another {@code address}. */
    public Config withAddress(String address) {
        return new Config(address, timeout, connectTimeout, waiting, maxIdle, onProblem);
    }

    /** The same with another {@code timeout}. */
    public Config withTimeout(Duration timeout) {
        return new Config(address, timeout, connectTimeout, waiting, maxIdle, onProblem);
    }

    /** The same with another {@code connectTimeout}. */
    public Config withConnectTimeout(Duration connectTimeout) {
        return new Config(address, timeout, connectTimeout, waiting, maxIdle, onProblem);
    }

    /** The same with another {@code waiting}. */
    public Config withWaiting(Duration waiting) {
        return new Config(address, timeout, connectTimeout, waiting, maxIdle, onProblem);
    }

    /** The same with another {@code maxIdle}. */
    public Config withMaxIdle(int maxIdle) {
        return new Config(address, timeout, connectTimeout, waiting, maxIdle, onProblem);
    }

    /** The same with another {@code onProblem}. */
    public Config withOnProblem(BiConsumer<String, String> onProblem) {
        return new Config(address, timeout, connectTimeout, waiting, maxIdle, onProblem);
    }

    private static void log(String cache, String problem) {
        System.getLogger("dev.freshet.client").log(System.Logger.Level.WARNING, "cache {0}: {1}", cache, problem);
    }
}
