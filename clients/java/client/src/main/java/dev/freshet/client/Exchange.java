package dev.freshet.client;

import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.URI;
import java.net.URISyntaxException;
import java.net.UnixDomainSocketAddress;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;

/** Carries requests to the sidecar, over connections that are used again. */
final class Exchange {
    private static final String SOCKET = "/run/freshet/freshet.sock";
    private static final String URL = "http://127.0.0.1:3737";
    /** The sidecar closes an unused connection after 75 s. */
    private static final long IDLE = Duration.ofSeconds(60).toNanos();

    private final List<SocketAddress> addresses;
    private final Config config;
    private final ArrayDeque<Connection> idle = new ArrayDeque<>();
    private final Health health = new Health();

    /**
     * What drops values isn't {@code pausable}: it is tried even while the sidecar hangs. What is sent {@code once} goes over a new
     * connection: of one that was used before nobody knows whether it was closed before the request or because of it.
     */
    record Request(
            String method,
            String path,
            Map<String, String> headers,
            byte[] body,
            Duration waiting,
            boolean pausable,
            boolean once) {
        Request(
                String method, String path, Map<String, String> headers, byte[] body, Duration waiting, boolean pausable) {
            this(method, path, headers, body, waiting, pausable, false);
        }

        byte[] head() throws Unavailable {
            var head = new StringBuilder(method + " " + path + " HTTP/1.1\r\nHost: freshet\r\n");
            for (var header : headers.entrySet()) {
                if (!header.getValue().chars().allMatch(c -> c >= ' ' && c <= '~')) {
                    throw new Unavailable("header");
                }
                head.append(header.getKey()).append(": ").append(header.getValue()).append("\r\n");
            }
            if (method.equals("PUT") || method.equals("POST")) {
                head.append("Content-Length: ").append(body.length).append("\r\n");
            }
            return head.append("\r\n").toString().getBytes(StandardCharsets.US_ASCII);
        }
    }

    Exchange(Config config, UnaryOperator<String> environment) {
        this.config = config;
        addresses = addresses(config.address(), environment);
    }

    static List<SocketAddress> addresses(String given, UnaryOperator<String> environment) {
        if (given != null) {
            return List.of(parse(given));
        }
        var found = new ArrayList<SocketAddress>();
        for (String name : List.of("FRESHET_SOCKET", "FRESHET_URL")) {
            String text = environment.apply(name);
            if (text != null && !text.isEmpty()) {
                found.add(parse(text));
            }
        }
        return found.isEmpty() ? List.of(parse(SOCKET), parse(URL)) : found;
    }

    private static SocketAddress parse(String text) {
        if (text.startsWith("/")) {
            return UnixDomainSocketAddress.of(text);
        }
        try {
            var uri = new URI(text);
            boolean bare = uri.getPath() != null && uri.getPath().matches("/?") && uri.getQuery() == null
                    && uri.getFragment() == null && uri.getUserInfo() == null;
            if ("http".equals(uri.getScheme()) && uri.getHost() != null && bare) {
                return new InetSocketAddress(uri.getHost(), uri.getPort() < 0 ? 80 : uri.getPort());
            }
        } catch (URISyntaxException e) {
            // Said below.
        }
        throw new IllegalArgumentException(
                "a sidecar's address is a socket's path or a URL like " + URL + ", not \"" + text + "\"");
    }

    Response ask(Request request) throws Unavailable {
        byte[] head = request.head();
        if (request.pausable() && health.pauses(System.nanoTime())) {
            throw new Unavailable("paused");
        }
        long deadline = System.nanoTime() + config.timeout().plus(request.waiting()).toNanos();
        try {
            Response response = onceOrAgain(head, request, deadline);
            health.answered();
            return response;
        } catch (Unavailable e) {
            if (e.getMessage().equals("timeout")) {
                health.timedOut(System.nanoTime());
            }
            throw e;
        }
    }

    void close() {
        for (Connection connection = take(); connection != null; connection = take()) {
            connection.close();
        }
    }

    private Response onceOrAgain(byte[] head, Request request, long deadline) throws Unavailable {
        byte[] body = request.body();
        if (request.once()) {
            return send(connect(deadline), head, body, deadline);
        }
        for (Connection connection = take(); connection != null; connection = take()) {
            try {
                return send(connection, head, body, deadline);
            } catch (Unavailable e) {
                // It was closed while it was idle. That request was never read.
                if (!e.getMessage().equals("closed")) {
                    throw e;
                }
            }
        }
        return send(connect(deadline), head, body, deadline);
    }

    private Response send(Connection connection, byte[] head, byte[] body, long deadline) throws Unavailable {
        boolean kept = false;
        try {
            Response response = connection.exchange(head, body, deadline);
            boolean keeps = !"close".equalsIgnoreCase(response.headers().get("connection"));
            synchronized (idle) {
                kept = keeps && idle.size() < config.maxIdle();
                if (kept) {
                    idle.push(connection);
                }
            }
            return response;
        } finally {
            if (!kept) {
                connection.close();
            }
        }
    }

    private Connection take() {
        synchronized (idle) {
            for (Connection connection = idle.poll(); connection != null; connection = idle.poll()) {
                if (System.nanoTime() - connection.used < IDLE) {
                    return connection;
                }
                connection.close();
            }
            return null;
        }
    }

    private Connection connect(long deadline) throws Unavailable {
        var why = new Unavailable("connect");
        for (SocketAddress address : addresses) {
            long end = System.nanoTime() + config.connectTimeout().toNanos();
            try {
                return Connection.open(address, end - deadline < 0 ? end : deadline);
            } catch (Unavailable e) {
                why = e;
            }
        }
        throw why;
    }
}
