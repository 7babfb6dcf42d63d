package dev.freshet.client;

/**
 * Keeps a hung sidecar from slowing the application down: after three time-outs in a row only one request per second is
 * tried, until one is answered. A sidecar that isn't there costs nothing and is tried each time.
 */
final class Health {
    private static final int MOST_TIMEOUTS = 3;
    private static final long PAUSE = 1_000_000_000;

    private int timeouts;
    private long resume;

    /** Whether to leave it alone now. Who is told false is the one who tries. */
    synchronized boolean pauses(long now) {
        if (timeouts < MOST_TIMEOUTS) {
            return false;
        }
        if (now - resume < 0) {
            return true;
        }
        resume = now + PAUSE;
        return false;
    }

    synchronized void answered() {
        timeouts = 0;
    }

    synchronized void timedOut(long now) {
        timeouts++;
        resume = now + PAUSE;
    }
}
