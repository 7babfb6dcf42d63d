package dev.freshet.client;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.regex.Pattern;

/** What came over the wire; the names of headers are lower case. */
record Response(int status, Map<String, String> headers, byte[] body) {
    private static final Pattern TYPE = Pattern.compile("\"type\"\\s*:\\s*\"(?:[^\"\\\\]*/)?([^\"/\\\\]*)\"");

    private static final Pattern DONE = Pattern.compile("\"status\"\\s*:\\s*204\\b");

    /** Reads the answer to a GET. */
    Answer<byte[]> answer() {
        Map<String, String> cache = cacheStatus();
        if (cache == null || status != 200 && status != 404) {
            String problem = problem();
            return problem != null && status < 500
                    ? Answer.nothing(Status.REFUSED, problem)
                    : Answer.nothing(Status.UNAVAILABLE, problem == null ? "garbled" : problem);
        }
        boolean hit = cache.containsKey("hit");
        return new Answer<>(
                status == 200 ? body : null,
                hit ? Status.HIT : "stale".equals(cache.get("fwd")) ? Status.STALE : Status.MISS,
                cache.get("detail"),
                hit || status == 200,
                seconds(cache.get("ttl")),
                seconds(headers.get("age")),
                headers.get("freshet-position"),
                headers.get("freshet-lease"),
                headers.get("freshet-fill"),
                null,
                headers.get("content-type"));
    }

    /** What became of a PUT or DELETE, or of the one fill of a batch. */
    String change(String done) {
        if (status == 204 || status == 200 && DONE.matcher(text()).find()) {
            return done;
        }
        String problem = status == 200 ? type() : problem();
        return problem == null ? "http-" + status : problem;
    }

    /** What became of what was to be published. */
    Published published() throws PublishException {
        if (status == 200 || status == 202) {
            Published published = JacksonCodec.published(body);
            if (published == null) {
                throw new PublishException.Unknown("garbled", null);
            }
            return published;
        }
        String problem = problem();
        if (problem == null) {
            throw new PublishException.Unknown("garbled", null);
        }
        String detail = JacksonCodec.detail(body);
        if (status >= 400 && status < 500) {
            throw new PublishException.Mistake(problem, detail, null);
        }
        throw switch (status) {
            case 502 -> new PublishException.Refused(problem, detail);
            case 503 -> new PublishException.Unavailable(problem, detail, seconds(headers.get("retry-after")));
            default -> new PublishException.Unknown(problem, detail);
        };
    }

    /** The last word of a problem's type, if it is a problem. */
    private String problem() {
        if (!headers.getOrDefault("content-type", "").startsWith("application/problem+json")) {
            return null;
        }
        return type();
    }

    private String type() {
        var type = TYPE.matcher(text());
        return type.find() ? type.group(1) : null;
    }

    private String text() {
        return new String(body, StandardCharsets.UTF_8);
    }

    /** The parameters of our member of a Cache-Status (RFC 9211); null if there is none. */
    private Map<String, String> cacheStatus() {
        for (String member : headers.getOrDefault("cache-status", "").split(",")) {
            String[] parts = member.split(";");
            if (!parts[0].strip().equals("freshet")) {
                continue;
            }
            var parameters = new HashMap<String, String>();
            for (int i = 1; i < parts.length; i++) {
                String[] pair = parts[i].strip().split("=", 2);
                parameters.put(pair[0], pair.length == 1 ? "" : pair[1].replace("\"", ""));
            }
            return parameters;
        }
        return null;
    }

    private static Duration seconds(String text) {
        return text != null && text.matches("-?[0-9]{1,12}") ? Duration.ofSeconds(Long.parseLong(text)) : null;
    }
}
