package dev.freshet.client;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * How a loaded value is stored. The loader gets it and may say more: what a page depends on is often known only when it
 * was read.
 */
public final class Fill {
    final List<String> depends;
    String position;
    Duration maxAge;

    /** More dependencies than this don't fit a header: they are sent as a batch. */
    private static final int MOST_DEPENDS = 64;

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

    /** The request that stores a value; without a type there is none. */
    Exchange.Request request(String path, String lease, String type, byte[] body) {
        if (depends.size() > MOST_DEPENDS) {
            return batch(path.split("/", 4), lease, type, body);
        }
        var headers = new HashMap<>(Map.of("Freshet-Lease", lease));
        headers.put(type == null ? "Freshet-Absent" : "Content-Type", type == null ? "?1" : type);
        if (!depends.isEmpty()) {
            headers.put("Freshet-Depends", String.join(", ", depends));
        }
        if (position != null) {
            headers.put("Freshet-Position", position);
        }
        if (maxAge != null) {
            headers.put("Cache-Control", "max-age=" + Math.max(0, maxAge.toSeconds()));
        }
        return new Exchange.Request("PUT", path, headers, body, Duration.ZERO, true);
    }

    private Exchange.Request batch(String[] path, String lease, String type, byte[] body) {
        var json = new StringBuilder("{\"put\":[{");
        member(json, "key", path[3]).append(',');
        member(json, "lease", lease).append(',');
        if (type == null) {
            json.append("\"absent\":true,");
        } else {
            member(json, "type", type).append(',');
            member(json, "base64", Base64.getEncoder().encodeToString(body)).append(',');
        }
        if (position != null) {
            member(json, "position", position).append(',');
        }
        if (maxAge != null) {
            json.append("\"maxAge\":").append(Math.max(0, maxAge.toSeconds())).append(',');
        }
        json.append("\"depends\":[");
        for (int i = 0; i < depends.size(); i++) {
            Key.quote(i == 0 ? json : json.append(','), depends.get(i));
        }
        byte[] text = json.append("]}]}").toString().getBytes(StandardCharsets.UTF_8);
        var headers = Map.of("Content-Type", "application/json");
        return new Exchange.Request("POST", "/v1/" + path[2] + "/_batch", headers, text, Duration.ZERO, true);
    }

    private static StringBuilder member(StringBuilder json, String name, String text) {
        return Key.quote(json.append('"').append(name).append("\":"), text);
    }
}
