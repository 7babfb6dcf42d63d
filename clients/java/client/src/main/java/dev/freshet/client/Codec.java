package dev.freshet.client;

/**
 * How values become bytes and back. A stored value for which {@link #decode} throws is loaded anew and replaced, so a
 * changed codec mends itself.
 *
 * <p>Java has no JSON of its own. With Jackson:
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
