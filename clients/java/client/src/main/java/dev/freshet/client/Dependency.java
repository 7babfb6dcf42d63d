package dev.freshet.client;

/** What a value may depend on besides what its cache depends on. */
public final class Dependency {
    private Dependency() {}

    /** All of a table, by the name that the binding has: {@code inventory.product}. */
    public static String table(String name) {
        return Key.escaped(name);
    }

    /** A row, by its key's columns in the order of the table's change events. */
    public static String row(String table, Object... columns) {
        return Key.escaped(table) + "/" + Key.of(columns).row();
    }

    /** What {@link Client#invalidateTag} says. */
    public static String tag(String text) {
        return "tag:" + Key.escaped(text);
    }
}
