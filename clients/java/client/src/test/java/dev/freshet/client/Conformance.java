package dev.freshet.client;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** Does what {@code clients/conformance} asks for, a line of JSON at a time. */
public final class Conformance {
    private static final ObjectMapper MAPPER = new ObjectMapper();
    private static final Codec<JsonNode> CBOR = Codec.cbor(JsonNode.class);
    private static final Codec<JsonNode> JSON = Codec.json(JsonNode.class);
    private static final Codec<byte[]> BYTES = Codec.bytes("application/octet-stream");
    private static final BufferedReader INPUT =
            new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    private static final PrintStream OUTPUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    private final List<List<String>> told = new ArrayList<>();
    private Client client = newClient(MAPPER.nullNode());

    private Conformance() {}

    /** The program. */
    public static void main(String[] arguments) throws Exception {
        var conformance = new Conformance();
        for (JsonNode call = hear(); call != null; call = hear()) {
            long started = System.nanoTime();
            ObjectNode said = conformance.answer(call);
            said.put("ms", (System.nanoTime() - started) / 1_000_000);
            said.set("told", MAPPER.valueToTree(conformance.told));
            conformance.told.clear();
            say(MAPPER.createObjectNode().set("answer", said));
        }
    }

    private Client newClient(JsonNode timeout) {
        var config = Config.DEFAULT.withOnProblem((cache, problem) -> told.add(List.of(cache, problem)));
        if (!timeout.isNull()) {
            var allowed = seconds(timeout);
            config = config.withTimeout(allowed).withConnectTimeout(allowed);
        }
        return new Client(config);
    }

    private ObjectNode answer(JsonNode call) throws Exception {
        String cache = call.path("cache").asText();
        Key key = Key.of(values(call.path("key")));
        Options options = options(call.path("options"));
        ObjectNode said = MAPPER.createObjectNode();
        switch (call.get("call").asText()) {
            case "new" -> {
                client.close();
                client = newClient(call.get("timeout"));
                return said;
            }
            case "address" -> {
                try (var other = new Client(Config.DEFAULT.withAddress(call.get("address").asText()))) {
                    return said.put("taken", other != client);
                } catch (IllegalArgumentException e) {
                    return said.put("taken", false);
                }
            }
            case "query_key" -> {
                return said.put("key", Key.queryKey(call.get("text").asText(), values(call.get("params"))));
            }
            case "get" -> {
                var found = client.get(cache, key, options);
                byte[] value = found.value();
                return show(found).put("type", found.contentType()).put("text", value == null ? null : new String(value, StandardCharsets.UTF_8));
            }
            case "many" -> {
                return said.put("hits", many(cache, key, call.get("times").asInt()));
            }
            case "put" -> {
                JsonNode value = call.get("value");
                return said.put("outcome", client.put(cache, key, call.get("lease").asText(), value, codec(call), options));
            }
            case "publish" -> {
                return publish(cache, call);
            }
            case "invalidate_tag" -> {
                return said.put("outcome", client.invalidateTag(call.get("tag").asText()));
            }
            case "delete" -> {
                return said.put("outcome", client.delete(cache, key));
            }
            default -> {
                try {
                    if (call.path("codec").asText().equals("bytes")) {
                        Answer<byte[]> found = client.getOrLoad(cache, key, BYTES, options, fill -> {
                            JsonNode value = load(fill);
                            return value == null ? null : value.binaryValue();
                        });
                        return show(found).set("value", MAPPER.valueToTree(found.value()));
                    }
                    Answer<JsonNode> found = client.getOrLoad(cache, key, codec(call), options, Conformance::load);
                    return show(found).set("value", found.value());
                } catch (IllegalStateException e) {
                    return said.put("error", e.getMessage());
                }
            }
        }
    }

    private ObjectNode publish(String cache, JsonNode call) throws IOException {
        var publication = new Publication();
        for (JsonNode item : call.path("put")) {
            Key key = Key.of(values(item.get("key")));
            Duration ttl = seconds(item.get("ttl"));
            if (item.path("unencodable").asBoolean()) {
                publication.put(key, new Object(), ttl);
            } else if (item.path("codec").asText().equals("bytes")) {
                publication.put(key, item.get("value").binaryValue(), BYTES, ttl);
            } else if (item.has("codec")) {
                publication.put(key, item.get("value"), codec(item), ttl);
            } else {
                publication.put(key, item.get("value"), ttl);
            }
        }
        call.path("delete").forEach(key -> publication.delete(Key.of(values(key))));
        if (call.path("clear").asBoolean()) {
            publication.clear();
        }
        ObjectNode said = MAPPER.createObjectNode();
        try {
            Published done = client.publish(cache, publication);
            said.put("applied", done.applied()).put("start", done.start().toEpochMilli());
            return said.put("publisher", done.publisher()).put("sequence", done.sequence());
        } catch (PublishException e) {
            said.put("failed", e.getClass().getSimpleName().toLowerCase(Locale.ROOT));
            said.put("problem", e.problem()).put("reason", e.detail());
            return said.put("retry_after", e.retryAfter() == null ? null : (Long) e.retryAfter().toSeconds());
        }
    }

    private static Codec<JsonNode> codec(JsonNode call) {
        return call.path("codec").asText().equals("json") ? JSON : CBOR;
    }

    private static JsonNode load(Fill fill) throws IOException {
        say(MAPPER.createObjectNode().put("load", true));
        JsonNode turn = hear();
        if (turn.has("error")) {
            throw new IllegalStateException(turn.get("error").asText());
        }
        Options said = options(turn.path("fill"));
        said.depends().forEach(fill::dependsOn);
        if (said.position() != null) {
            fill.position(said.position());
        }
        if (said.maxAge() != null) {
            fill.maxAge(said.maxAge());
        }
        if (turn.has("repeat")) {
            return MAPPER.getNodeFactory().textNode("x".repeat(turn.get("repeat").asInt()));
        }
        return turn.path("absent").asBoolean() ? null : turn.get("value");
    }

    /** How many hits there are among as many reads at the same time. */
    private long many(String cache, Key key, int times) throws Exception {
        var threads = Executors.newFixedThreadPool(times);
        try {
            var reads = new ArrayList<Callable<Status>>();
            for (int i = 0; i < times; i++) {
                reads.add(() -> client.get(cache, key, Options.NONE).status());
            }
            long hits = 0;
            for (Future<Status> read : threads.invokeAll(reads)) {
                hits += read.get() == Status.HIT ? 1 : 0;
            }
            return hits;
        } finally {
            threads.shutdown();
        }
    }

    private static Options options(JsonNode said) {
        var options = Options.NONE.withNoCache(said.path("no_cache").asBoolean());
        if (said.has("wait")) {
            options = options.withWaiting(seconds(said.get("wait")));
        }
        if (said.has("max_age")) {
            options = options.withMaxAge(seconds(said.get("max_age")));
        }
        var depends = new ArrayList<String>();
        said.path("depends").forEach(item -> depends.add(dependency(item)));
        return options.withMinPosition(said.path("min_position").asText(null))
                .withPosition(said.path("position").asText(null))
                .withDepends(depends);
    }

    private static String dependency(JsonNode item) {
        if (item.isTextual()) {
            return item.asText();
        }
        String kind = item.fieldNames().next();
        Object[] words = values(item.get(kind));
        String first = (String) words[0];
        return switch (kind) {
            case "table" -> Dependency.table(first);
            case "row" -> Dependency.row(first, Arrays.copyOfRange(words, 1, words.length));
            default -> Dependency.tag(first);
        };
    }

    private static Object[] values(JsonNode items) {
        var values = new ArrayList<Object>();
        for (JsonNode item : items) {
            if (item.isObject()) {
                values.add(Long.parseLong(item.get("integer").asText()));
            } else {
                values.add(item.isNull() ? null : item.isBoolean() ? (Object) item.asBoolean() : item.asText());
            }
        }
        return values.toArray();
    }

    private static ObjectNode show(Answer<?> found) {
        ObjectNode said = MAPPER.createObjectNode();
        said.put("status", found.status().name().toLowerCase(Locale.ROOT)).put("detail", found.detail());
        said.put("ttl", found.ttl() == null ? null : (Long) found.ttl().toSeconds());
        said.put("age", found.age() == null ? null : (Long) found.age().toSeconds());
        said.put("position", found.position()).put("lease", found.lease());
        return said.put("fill", found.fill()).put("stored", found.stored());
    }

    private static Duration seconds(JsonNode number) {
        return Duration.ofMillis(Math.round(number.asDouble() * 1_000));
    }

    private static void say(JsonNode message) {
        OUTPUT.println(message);
    }

    private static JsonNode hear() throws IOException {
        String line = INPUT.readLine();
        return line == null ? null : MAPPER.readTree(line);
    }
}
