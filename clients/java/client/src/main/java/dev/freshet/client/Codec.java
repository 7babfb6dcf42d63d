package dev.freshet.client;

/**
 * How values become bytes and back. A stored value for which {@link #decode} throws is loaded anew and replaced, so a
 * changed codec mends itself.
 *
 * <p>{@link #cbor(Class)} and {@link #json(Class)} are Jackson's. Another library's, or Jackson's with modules:
 *
 * <pre>{@code
 * Codec<Product> codec = Codec.json(mapper::writeValueAsBytes, bytes -> mapper.readValue(bytes, Product.class));
 * }</pre>
 */
public interface Codec<T> {
    /** What may fail. */
    @FunctionalInterface
    interface Function<A, B> {
        /** Applies it. */
        B apply(A argument) throws Exception;
    }

    /** Stored with the bytes. */
    String contentType();

    /** The bytes of a value. */
    byte[] encode(T value) throws Exception;

    /** The value of bytes. */
    T decode(byte[] bytes) throws Exception;

    /** What reads are sent with as {@code Accept}: the types that are decoded; null: what is stored comes as it is. */
    default String accept() {
        return null;
    }

    /** The value of bytes that are stored with this content type, which may be null. */
    default T decode(byte[] bytes, String contentType) throws Exception {
        return decode(bytes);
    }

    /** CBOR by Jackson. It reads JSON, too. */
    static <T> Codec<T> cbor(Class<T> type) {
        return new JacksonCodec<>(type, true);
    }

    /** JSON by Jackson. It reads CBOR, too. */
    static <T> Codec<T> json(Class<T> type) {
        return new JacksonCodec<>(type, false);
    }

    /** JSON, by a library of the application's choice. */
    static <T> Codec<T> json(Function<? super T, byte[]> encode, Function<byte[], ? extends T> decode) {
        return of("application/json", encode, decode);
    }

    /** Bytes as they are. */
    static Codec<byte[]> bytes(String contentType) {
        return of(contentType, bytes -> bytes, bytes -> bytes);
    }

    /** A codec of two functions. */
    static <T> Codec<T> of(
            String contentType, Function<? super T, byte[]> encode, Function<byte[], ? extends T> decode) {
        return new Codec<>() {
            @Override
            public String contentType() {
                return contentType;
            }

            @Override
            public byte[] encode(T value) throws Exception {
                return encode.apply(value);
            }

            @Override
            public T decode(byte[] bytes) throws Exception {
                return decode.apply(bytes);
            }
        };
    }
}
