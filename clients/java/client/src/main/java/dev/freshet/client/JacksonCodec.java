package dev.freshet.client;

import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.dataformat.cbor.databind.CBORMapper;
import java.io.IOException;
import java.time.Instant;
import java.util.Locale;

/** CBOR or JSON of a class, which reads the other one as well. */
record JacksonCodec<T>(Class<T> type, boolean writesCbor) implements Codec<T> {
    // What is behind a value is no part of it: it isn't one.
    private static final ObjectMapper CBOR =
            CBORMapper.builder().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS).build();
    private static final ObjectMapper JSON =
            JsonMapper.builder().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS).build();

    @Override
    public String contentType() {
        return writesCbor ? "application/cbor" : "application/json";
    }

    @Override
    public byte[] encode(T value) throws IOException {
        return (writesCbor ? CBOR : JSON).writeValueAsBytes(value);
    }

    @Override
    public T decode(byte[] bytes) throws IOException {
        return (writesCbor ? CBOR : JSON).readValue(bytes, type);
    }

    @Override
    public String accept() {
        return writesCbor
                ? "application/cbor, application/json, */*;q=0.1"
                : "application/json, application/cbor;q=0.9, */*;q=0.1";
    }

    @Override
    public T decode(byte[] bytes, String contentType) throws IOException {
        if (is(contentType, "cbor")) {
            return CBOR.readValue(bytes, type);
        }
        if (!writesCbor || is(contentType, "json")) {
            return JSON.readValue(bytes, type);
        }
        throw new IOException("the value is of type " + contentType + ", neither CBOR nor JSON");
    }

    /** Whether a text is one JSON value. */
    static boolean isJson(String text) {
        try {
            return !JSON.readTree(text).isMissingNode();
        } catch (IOException e) {
            return false;
        }
    }

    /** What a request to publish was answered; null if that isn't one. */
    static Published published(byte[] body) {
        try {
            JsonNode said = JSON.readTree(body);
            boolean whole = said.path("applied").isBoolean() && said.path("start").isIntegralNumber()
                    && said.path("publisher").isTextual() && said.path("sequence").isIntegralNumber();
            return whole
                    ? new Published(
                            said.get("applied").booleanValue(),
                            Instant.ofEpochMilli(said.get("start").longValue()),
                            said.get("publisher").textValue(),
                            said.get("sequence").longValue())
                    : null;
        } catch (IOException e) {
            return null;
        }
    }

    /** A problem's detail; null if it has none. */
    static String detail(byte[] body) {
        try {
            return JSON.readTree(body).path("detail").textValue();
        } catch (IOException e) {
            return null;
        }
    }

    /** Whether values of this type are written in this codec. */
    private static boolean is(String contentType, String codec) {
        String essence = contentType == null ? "" : contentType.split(";", 2)[0].strip().toLowerCase(Locale.ROOT);
        return essence.equals("application/" + codec) || essence.endsWith("+" + codec);
    }
}
