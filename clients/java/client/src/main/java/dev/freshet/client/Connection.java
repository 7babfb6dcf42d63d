package dev.freshet.client;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.SocketAddress;
import java.net.StandardProtocolFamily;
import java.net.StandardSocketOptions;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;

/**
 * As much of HTTP/1.1 as the sidecar speaks. {@code java.net.http} knows no Unix sockets, and a channel that blocks has no
 * deadline.
 */
final class Connection implements AutoCloseable {
    private static final int MOST_OF_A_HEAD = 64 << 10;
    private static final int MOST_OF_A_BODY = 64 << 20;

    private final SocketChannel channel;
    private final Selector selector;
    private final ByteBuffer buffer = ByteBuffer.allocate(16 << 10).flip();
    long used = System.nanoTime();

    private Connection(SocketChannel channel, Selector selector) {
        this.channel = channel;
        this.selector = selector;
    }

    static Connection open(SocketAddress address, long deadline) throws Unavailable {
        boolean local = address instanceof UnixDomainSocketAddress;
        Connection connection = null;
        try {
            var channel = local ? SocketChannel.open(StandardProtocolFamily.UNIX) : SocketChannel.open();
            connection = new Connection(channel, Selector.open());
            channel.configureBlocking(false);
            if (!local) {
                channel.setOption(StandardSocketOptions.TCP_NODELAY, true);
            }
            if (!channel.connect(address)) {
                while (!channel.finishConnect()) {
                    connection.await(SelectionKey.OP_CONNECT, deadline);
                }
            }
            return connection;
        } catch (IOException | RuntimeException e) {
            // A name that isn't known is no IOException.
            if (connection != null) {
                connection.close();
            }
            throw new Unavailable("connect");
        } catch (Unavailable e) {
            connection.close();
            throw e;
        }
    }

    /** Sends a request and reads its answer. */
    Response exchange(byte[] head, byte[] body, long deadline) throws Unavailable {
        try {
            send(new ByteBuffer[] {ByteBuffer.wrap(head), ByteBuffer.wrap(body)}, deadline);
            return receive(deadline);
        } catch (IOException e) {
            throw new Unavailable(Thread.currentThread().isInterrupted() ? "interrupted" : "closed");
        } finally {
            used = System.nanoTime();
        }
    }

    @Override
    public void close() {
        try (selector; channel) {
            buffer.clear().flip();
        } catch (IOException e) {
            // It is gone either way.
        }
    }

    /** In one piece, where there is room: whoever turns a request away may not read its body. */
    private void send(ByteBuffer[] bytes, long deadline) throws IOException, Unavailable {
        while (bytes[bytes.length - 1].hasRemaining() || bytes[0].hasRemaining()) {
            if (channel.write(bytes) == 0) {
                await(SelectionKey.OP_WRITE, deadline);
            }
        }
    }

    private Response receive(long deadline) throws IOException, Unavailable {
        String line = line(deadline, true);
        if (!line.matches("HTTP/1\\.[01] [0-9]{3}( .*)?")) {
            throw new Unavailable("garbled");
        }
        int status = Integer.parseInt(line.substring(9, 12));
        var headers = new HashMap<String, String>();
        int length = line.length();
        for (line = line(deadline, false); !line.isEmpty(); line = line(deadline, false)) {
            int colon = line.indexOf(':');
            length += line.length();
            if (colon < 1 || length > MOST_OF_A_HEAD) {
                throw new Unavailable("garbled");
            }
            headers.put(line.substring(0, colon).toLowerCase(java.util.Locale.ROOT), line.substring(colon + 1).strip());
        }
        return new Response(status, headers, body(status, headers.get("content-length"), deadline));
    }

    private byte[] body(int status, String length, long deadline) throws IOException, Unavailable {
        if (status == 204 || status == 304) {
            return new byte[0];
        }
        if (length == null || !length.matches("[0-9]{1,8}") || Integer.parseInt(length) > MOST_OF_A_BODY) {
            throw new Unavailable("garbled");
        }
        // Not allocated at once: what is announced needn't come.
        int left = Integer.parseInt(length);
        var body = new ByteArrayOutputStream(Math.min(left, 16 << 10));
        while (left > 0) {
            more(deadline, "garbled");
            int taken = Math.min(left, buffer.remaining());
            body.write(buffer.array(), buffer.position(), taken);
            buffer.position(buffer.position() + taken);
            left -= taken;
        }
        if (buffer.hasRemaining()) {
            throw new Unavailable("garbled");
        }
        return body.toByteArray();
    }

    private String line(long deadline, boolean first) throws IOException, Unavailable {
        var line = new ByteArrayOutputStream(64);
        while (true) {
            more(deadline, first && line.size() == 0 ? "closed" : "garbled");
            byte next = buffer.get();
            if (next == '\n') {
                String text = line.toString(StandardCharsets.ISO_8859_1);
                return text.endsWith("\r") ? text.substring(0, text.length() - 1) : text;
            }
            if (line.size() > MOST_OF_A_HEAD) {
                throw new Unavailable("garbled");
            }
            line.write(next);
        }
    }

    /** Reads until there is something in the buffer. */
    private void more(long deadline, String atTheEnd) throws IOException, Unavailable {
        if (buffer.hasRemaining()) {
            return;
        }
        buffer.clear();
        try {
            int read = channel.read(buffer);
            for (; read == 0; read = channel.read(buffer)) {
                await(SelectionKey.OP_READ, deadline);
            }
            if (read < 0) {
                throw new Unavailable(atTheEnd);
            }
        } finally {
            buffer.flip();
        }
    }

    private void await(int what, long deadline) throws IOException, Unavailable {
        long left = (deadline - System.nanoTime() + 999_999) / 1_000_000;
        if (left <= 0) {
            throw new Unavailable("timeout");
        }
        if (Thread.currentThread().isInterrupted()) {
            throw new Unavailable("interrupted");
        }
        channel.register(selector, what);
        selector.select(left);
        selector.selectedKeys().clear();
    }
}
