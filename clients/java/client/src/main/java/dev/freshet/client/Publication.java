package dev.freshet.client;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/**
 * What is so from now on: first what clears, then what deletes, then the values, each in its order. At most 1 000 keys and values
 * in all.
 *
 * <pre>{@code
 * client.publish("quotes", new Publication().put(Key.of("eur-usd"), quote, Duration.ofMinutes(1)).delete(Key.of("usd-chf")));
 * }</pre>
 */
public final class Publication {
    /** A sidecar that isn't hung has answered within this time: it waits 5 s for its source. */
    private static final Duration PATIENCE = Duration.ofSeconds(6);

    private boolean clear;
    private final List<Key> deleted = new ArrayList<>();
    private final List<Item<?>> items = new ArrayList<>();

    private record Item<T>(Key key, T value, Codec<T> codec, Duration ttl) {
        byte[] encoded() throws Exception {
            return codec.encode(value);
        }
    }

    /** Nothing yet. */
    public Publication() {}

    /**
     * Gives a key this value, as CBOR by Jackson. It is encoded by {@link Client#publish}.
     *
     * @param value the value; null is one like others: a key that has none any more is deleted
     * @param ttl for how long it is good: at least a millisecond, and never longer than the cache's {@code ttl}
     */
    public Publication put(Key key, Object value, Duration ttl) {
        return put(key, value, Codec.cbor(Object.class), ttl);
    }

    /** {@link #put(Key, Object, Duration)} by another codec. Of two values for one key the last one counts. */
    public <T> Publication put(Key key, T value, Codec<T> codec, Duration ttl) {
        items.add(new Item<>(key, value, codec, Objects.requireNonNull(ttl, "a value has a ttl")));
        return this;
    }

    /** Leaves a key without a value. */
    public Publication delete(Key key) {
        deleted.add(key);
        return this;
    }

    /** Leaves every key of the cache without one, before all else. */
    public Publication clear() {
        clear = true;
        return this;
    }

    Exchange.Request request(String cache) throws PublishException.Mistake {
        var json = new StringBuilder("{\"clear\":").append(clear).append(",\"delete\":[");
        for (int i = 0; i < deleted.size(); i++) {
            key(i == 0 ? json : json.append(','), deleted.get(i));
        }
        json.append("],\"put\":[");
        for (int i = 0; i < items.size(); i++) {
            item(i == 0 ? json : json.append(','), items.get(i));
        }
        byte[] body = json.append("]}").toString().getBytes(StandardCharsets.UTF_8);
        var headers = Map.of("Content-Type", "application/json");
        String path = "/v1/" + Key.escaped(cache) + "/_publish";
        return new Exchange.Request("POST", path, headers, body, PATIENCE, false, true);
    }

    private static void item(StringBuilder json, Item<?> item) throws PublishException.Mistake {
        byte[] bytes;
        try {
            bytes = item.encoded();
        } catch (Exception e) {
            throw new PublishException.Mistake("unencodable", e.getMessage(), e);
        }
        key(json.append("{\"key\":"), item.key()).append(",\"ttl\":").append(item.ttl().toMillis());
        String text = item.codec().contentType().equals("application/json") ? text(bytes) : null;
        if (text == null) {
            Key.quote(json.append(",\"type\":"), item.codec().contentType());
            json.append(",\"base64\":\"").append(Base64.getEncoder().encodeToString(bytes)).append("\"}");
        } else {
            json.append(",\"value\":").append(text).append('}');
        }
    }

    /**
     * JSON's text, which stands there as it was written; whoever looks at the source can read it. Null if it is none, whatever its
     * codec calls it: it is published as it is.
     */
    private static String text(byte[] bytes) {
        try {
            String text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
            return JacksonCodec.isJson(text) ? text : null;
        } catch (IOException e) {
            return null;
        }
    }

    private static StringBuilder key(StringBuilder json, Key key) throws PublishException.Mistake {
        List<String> segments = key.segments();
        if (segments == null) {
            throw new PublishException.Mistake("key-syntax", null, null);
        }
        json.append('[');
        for (int i = 0; i < segments.size(); i++) {
            Key.quote(i == 0 ? json : json.append(','), segments.get(i));
        }
        return json.append(']');
    }
}
