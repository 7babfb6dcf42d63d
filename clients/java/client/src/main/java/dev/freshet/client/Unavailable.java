package dev.freshet.client;

/** Why there is no answer, in a word. It never leaves this package. */
final class Unavailable extends Exception {
    private static final long serialVersionUID = 1;

    Unavailable(String why) {
        // No stack: it is thrown as often as requests are made.
        super(why, null, false, false);
    }
}
