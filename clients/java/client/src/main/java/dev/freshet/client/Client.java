package dev.freshet.client;

import java.math.BigDecimal;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Reads through one sidecar, from any number of threads, virtual ones included. Nothing is connected before the first read.
 */
public final class Client implements AutoCloseable {
    private static final byte[] EMPTY = {};

    private final Exchange exchange;
    private final Config config;
    private final Set<String> told = ConcurrentHashMap.newKeySet();

    /** A client of the sidecar beside this process. */
    public Client() {
        this(Config.DEFAULT);
    }

    /**
     * A client that is told more.
     *
     * @throws IllegalArgumentException if the address is none
     */
    public Client(Config config) {
        this.config = config;
        exchange = new Exchange(config, System::getenv);
    }

    /** {@link #getOrLoad(String, Key, Codec, Options, Loader)} as CBOR, without options. */
    public <T, E extends Exception> Answer<T> getOrLoad(String cache, Key key, Class<T> type, Loader<T, E> loader)
            throws E {
        return getOrLoad(cache, key, Codec.cbor(type), Options.NONE, loader);
    }

    /** {@link #getOrLoad(String, Key, Codec, Options, Loader)} without options. */
    public <T, E extends Exception> Answer<T> getOrLoad(String cache, Key key, Codec<T> codec, Loader<T, E> loader)
            throws E {
        return getOrLoad(cache, key, codec, Options.NONE, loader);
    }

    /** The cached value, or what the loader reads, which is then stored. What is thrown is the loader's. */
    public <T, E extends Exception> Answer<T> getOrLoad(
            String cache, Key key, Codec<T> codec, Options options, Loader<T, E> loader) throws E {
        Duration wait = options.waiting() == null ? config.waiting() : options.waiting();
        // Whoever is behind waits for the log from the start. Whoever finds somebody loading asks again, and then waits:
        // that sidecar is known to answer.
        boolean behind = options.minPosition() != null;
        Answer<byte[]> found = read(cache, key, options.withWaiting(behind ? wait : Duration.ZERO), codec.accept());
        if ("other".equals(found.fill()) && !behind && !options.noCache() && wait.compareTo(Duration.ZERO) > 0) {
            found = read(cache, key, options.withWaiting(wait), codec.accept());
        }
        if (found.found()) {
            if (found.value() == null) {
                return found.with(null, null);
            }
            try {
                return found.with(codec.decode(found.value(), found.contentType()), null);
            } catch (Exception e) {
                tell(cache, "undecodable");
            }
            // Another version of the application stored it. It is replaced.
            found = get(cache, key, Options.NONE.withNoCache(true)).because("undecodable");
        }
        var fill = new Fill(options);
        T value = loader.load(fill);
        String stored = found.lease() == null ? null : store(cache, key, found.lease(), value, codec, fill);
        return found.with(value, stored);
    }

    /**
     * What is cached, as the bytes that are stored; on a miss with a lease for {@link #put}. It waits only if it is told to.
     */
    public Answer<byte[]> get(String cache, Key key, Options options) {
        return read(cache, key, options, null);
    }

    private Answer<byte[]> read(String cache, Key key, Options options, String accept) {
        String path = key.path(cache);
        if (path == null) {
            return Answer.nothing(Status.REFUSED, "key-syntax");
        }
        var headers = new HashMap<String, String>();
        Duration wait = options.waiting() == null ? Duration.ZERO : options.waiting();
        if (wait.compareTo(Duration.ZERO) > 0) {
            headers.put("Prefer", "wait=" + BigDecimal.valueOf(wait.toMillis(), 3).toPlainString());
        }
        if (options.minPosition() != null) {
            headers.put("Freshet-Min-Position", options.minPosition());
        }
        if (options.noCache()) {
            headers.put("Cache-Control", "no-cache");
        }
        if (accept != null) {
            headers.put("Accept", accept);
        }
        Answer<byte[]> answer;
        try {
            answer = exchange.ask(new Exchange.Request("GET", path, headers, EMPTY, wait, true)).answer();
        } catch (Unavailable e) {
            boolean mistake = e.getMessage().equals("header");
            answer = Answer.nothing(mistake ? Status.REFUSED : Status.UNAVAILABLE, e.getMessage());
        }
        boolean failed = answer.status() == Status.REFUSED || answer.status() == Status.UNAVAILABLE;
        if (failed && !answer.detail().equals("paused")) {
            tell(cache, answer.detail());
        }
        return answer;
    }

    /**
     * Stores what was read after the lease was given; null stands for "there is no such row".
     *
     * @return {@code stored}, {@code fenced}, {@code unavailable}, {@code unencodable} or a problem
     */
    public <T> String put(String cache, Key key, String lease, T value, Codec<T> codec, Options options) {
        return store(cache, key, lease, value, codec, new Fill(options));
    }

    /**
     * Drops a value in this pod. It is tried even while reads are paused.
     *
     * @return {@code deleted}, {@code unavailable} or a problem
     */
    public String delete(String cache, Key key) {
        String path = key.path(cache);
        if (path == null) {
            return "key-syntax";
        }
        try {
            var request = new Exchange.Request("DELETE", path, Map.of(), EMPTY, Duration.ZERO, false);
            return exchange.ask(request).change("deleted");
        } catch (Unavailable e) {
            return "unavailable";
        }
    }

    /**
     * Voids what depends on a tag in this pod. As {@link #delete}, it is always tried.
     *
     * @return {@code invalidated}, {@code unavailable} or a problem
     */
    public String invalidateTag(String text) {
        try {
            String path = "/v1/_tags/" + Key.escaped(text);
            var request = new Exchange.Request("POST", path, Map.of(), EMPTY, Duration.ZERO, false);
            return exchange.ask(request).change("invalidated");
        } catch (Unavailable e) {
            return "unavailable";
        }
    }

    /**
     * Tells every pod whose sidecar follows the cache's source what is so from now on. The cache is {@code published}.
     *
     * <p>It returns when the source has all of it, and this pod's reads see it, within 6 s and {@link Config#timeout}. Nothing is
     * tried again by itself: whoever publishes once more, later, wins over what others have published meanwhile, and only the
     * application knows what holds by then. As {@link #delete}, it is always tried.
     *
     * @throws PublishException if it wasn't published, or nobody knows: a {@link PublishException.Mistake}, {@link
     *     PublishException.Refused}, {@link PublishException.Unavailable} or {@link PublishException.Unknown}
     */
    public Published publish(String cache, Publication publication) throws PublishException {
        Exchange.Request request = publication.request(cache);
        try {
            return exchange.ask(request).published();
        } catch (Unavailable e) {
            if (e.getMessage().equals("connect")) {
                throw new PublishException.Unavailable(e.getMessage(), null, null);
            }
            throw new PublishException.Unknown(e.getMessage(), null);
        }
    }

    /** Closes unused connections. A closed client can be used again. */
    @Override
    public void close() {
        exchange.close();
    }

    private <T> String store(String cache, Key key, String lease, T value, Codec<T> codec, Fill fill) {
        String path = key.path(cache);
        if (path == null) {
            return "key-syntax";
        }
        byte[] body;
        try {
            body = value == null ? EMPTY : codec.encode(value);
        } catch (Exception e) {
            tell(cache, "unencodable");
            return "unencodable";
        }
        String type = value == null ? null : codec.contentType();
        String stored;
        try {
            stored = exchange.ask(fill.request(path, lease, type, body)).change("stored");
        } catch (Unavailable e) {
            stored = e.getMessage().equals("header") ? "header" : "unavailable";
        }
        if (!Set.of("stored", "fenced", "unavailable").contains(stored)) {
            tell(cache, stored);
        }
        return stored;
    }

    private void tell(String cache, String problem) {
        if (told.add(cache + " " + problem)) {
            config.onProblem().accept(cache, problem);
        }
    }
}
