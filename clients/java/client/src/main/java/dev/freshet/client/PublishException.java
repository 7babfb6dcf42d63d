package dev.freshet.client;

import java.time.Duration;

/** Something wasn't published, or nobody knows whether it was. */
public abstract sealed class PublishException extends Exception {
    private static final long serialVersionUID = 1;

    private final String problem;
    private final String detail;
    private final Duration retryAfter;

    private PublishException(String problem, String detail, Duration retryAfter, Throwable cause) {
        super(detail == null ? problem : problem + ": " + detail, cause);
        this.problem = problem;
        this.detail = detail;
        this.retryAfter = retryAfter;
    }

    /** Why, in a word: the last one of a problem's type, or a client's own such as {@code connect}. */
    public String problem() {
        return problem;
    }

    /** Why, in a sentence of the sidecar's; null if it has said none. */
    public String detail() {
        return detail;
    }

    /** After which time it may be tried again; null where the sidecar hasn't said so. */
    public Duration retryAfter() {
        return retryAfter;
    }

    /**
     * The request was a mistake, and nothing was published: the cache isn't published ({@code not-published}), or its source can't
     * be written to ({@code not-publishable}), a value is too large, a key is none ({@code key-syntax}), a value can't be encoded
     * ({@code unencodable}).
     */
    public static final class Mistake extends PublishException {
        private static final long serialVersionUID = 1;

        Mistake(String problem, String detail, Throwable cause) {
            super(problem, detail, null, cause);
        }
    }

    /** The source doesn't take it. Nothing was published, or a part: the detail says which. */
    public static final class Refused extends PublishException {
        private static final long serialVersionUID = 1;

        Refused(String problem, String detail) {
            super(problem, detail, null, null);
        }
    }

    /**
     * Nothing was published, for now: nobody listens ({@code connect}), or the sidecar has no connection to the source
     * ({@code publish-unavailable}). It can be tried again, after {@link #retryAfter}.
     */
    public static final class Unavailable extends PublishException {
        private static final long serialVersionUID = 1;

        Unavailable(String problem, String detail, Duration retryAfter) {
            super(problem, detail, retryAfter, null);
        }
    }

    /**
     * It may have been published, or may be yet: the source hasn't answered the sidecar in time ({@code publish-unknown}), or the
     * sidecar hasn't answered at all ({@code timeout}, {@code closed}, {@code garbled}, {@code interrupted}). Publish what holds by
     * then, rather than the same again: that would win over what others have published meanwhile.
     */
    public static final class Unknown extends PublishException {
        private static final long serialVersionUID = 1;

        Unknown(String problem, String detail) {
            super(problem, detail, null, null);
        }
    }
}
