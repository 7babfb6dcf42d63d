package dev.freshet.client;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.UUID;
import java.util.stream.Collectors;

/** The columns of a key, in order. */
public final class Key {
    private final List<String> columns;

    private Key(List<String> columns) {
        this.columns = columns;
    }

    /**
     * A key of these columns: texts, integers, booleans and UUIDs.
     *
     * @throws IllegalArgumentException for any other
     */
    public static Key of(Object... columns) {
        var texts = new ArrayList<String>();
        for (Object column : columns) {
            if (!(column instanceof String || isInteger(column) || column instanceof Boolean || column instanceof UUID)) {
                throw new IllegalArgumentException(
                        "a key's columns are texts, integers, booleans and UUIDs, not " + typeOf(column));
            }
            texts.add(column.toString());
        }
        return new Key(List.copyOf(texts));
    }

    /**
     * The key of a whole query: {@code q-} and 32 hexadecimal digits, alike in all of Freshet's clients. Parameters are
     * texts, integers, booleans and null.
     *
     * @throws IllegalArgumentException for any other, and for texts that aren't Unicode
     */
    public static Key ofQuery(String text, Object... parameters) {
        return new Key(List.of(queryKey(text, parameters)));
    }

    static String queryKey(String text, Object... parameters) {
        var canonical = new StringBuilder("[");
        quote(canonical, text);
        for (Object parameter : parameters == null ? new Object[] {null} : parameters) {
            canonical.append(',');
            if (parameter instanceof String string) {
                quote(canonical, string);
            } else if (parameter == null || parameter instanceof Boolean || isInteger(parameter)) {
                canonical.append(parameter);
            } else {
                throw new IllegalArgumentException(
                        "a query's parameters are texts, integers, booleans and null, not " + typeOf(parameter));
            }
        }
        try {
            byte[] digest = MessageDigest.getInstance("SHA-256").digest(utf8(canonical.append(']').toString()));
            return "q-" + HexFormat.of().formatHex(digest, 0, 16);
        } catch (CharacterCodingException e) {
            throw new IllegalArgumentException("a query's texts are Unicode", e);
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError("every Java has SHA-256", e);
        }
    }

    /** The path, one segment per column; null where a column's text isn't Unicode. */
    String path(String cache) {
        try {
            var path = new StringBuilder("/v1/");
            escape(path, cache);
            for (int i = 0; i < columns.size(); i++) {
                String column = columns.get(i);
                path.append('/');
                if (i == 0 && column.startsWith("_")) {
                    path.append("%5F");
                    column = column.substring(1);
                }
                escape(path, column);
            }
            return path.toString();
        } catch (CharacterCodingException e) {
            return null;
        }
    }

    /** The columns as texts, not encoded; null where one isn't Unicode. */
    List<String> segments() {
        try {
            for (String column : columns) {
                utf8(column);
            }
            return columns;
        } catch (CharacterCodingException e) {
            return null;
        }
    }

    /** A text as a segment of a path. */
    static String escaped(String text) {
        try {
            var path = new StringBuilder();
            escape(path, text);
            return path.toString();
        } catch (CharacterCodingException e) {
            throw new IllegalArgumentException("the text isn't Unicode", e);
        }
    }

    /** The columns, each as a segment of a path. */
    String row() {
        return columns.stream().map(Key::escaped).collect(Collectors.joining("/"));
    }

    private static boolean isInteger(Object value) {
        return value instanceof Long || value instanceof Integer || value instanceof Short || value instanceof Byte;
    }

    private static String typeOf(Object value) {
        return value == null ? "null" : value.getClass().getName();
    }

    private static void escape(StringBuilder path, String text) throws CharacterCodingException {
        for (byte b : utf8(text)) {
            if (b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || "-._~".indexOf(b) >= 0) {
                path.append((char) b);
            } else {
                path.append('%').append(HexFormat.of().withUpperCase().toHexDigits(b));
            }
        }
    }

    /** A JSON string as RFC 8785 has it. */
    static StringBuilder quote(StringBuilder canonical, String text) {
        canonical.append('"');
        for (char c : text.toCharArray()) {
            int at = "\"\\\b\t\n\f\r".indexOf(c);
            if (at >= 0) {
                canonical.append('\\').append("\"\\btnfr".charAt(at));
            } else if (c < ' ') {
                canonical.append("\\u").append(HexFormat.of().toHexDigits(c));
            } else {
                canonical.append(c);
            }
        }
        return canonical.append('"');
    }

    private static byte[] utf8(String text) throws CharacterCodingException {
        ByteBuffer bytes = StandardCharsets.UTF_8.newEncoder().encode(java.nio.CharBuffer.wrap(text));
        byte[] array = new byte[bytes.remaining()];
        bytes.get(array);
        return array;
    }
}
