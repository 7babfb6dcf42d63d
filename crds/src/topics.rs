//! The names of Debezium's topics, and what in them is Freshet's own: generator, operator and sidecars agree on them.
//!
//! Where nothing routes them elsewhere, topics are streams of the same names.

/// The table whose one row is the heartbeat of databases without logical messages: columns `beat`, one more each time,
/// and `at_ms`, milliseconds since the Unix epoch.
pub const HEARTBEAT_TABLE: &str = "freshet_heartbeat";

/// The table that Debezium is asked for snapshots by: columns `id`, `type` and `data`, as Debezium's signals have them.
pub const SIGNAL_TABLE: &str = "freshet_signal";

/// The prefix of the logical messages that are heartbeats (Postgres).
pub const HEARTBEAT_MESSAGES: &str = "freshet-hb";

/// What Debezium puts before the prefix in the topic of its own heartbeats.
pub const DEBEZIUM_HEARTBEATS: &str = "__debezium-heartbeat";

/// The topic of a table's changes; `table` is written `schema.table`, or `database.table`.
#[must_use]
pub fn of_table(prefix: &str, table: &str) -> String {
    format!("{prefix}.{}", part(table))
}

/// The topic of the heartbeat that is a row, in the database of this table.
#[must_use]
pub fn of_heartbeats_beside(prefix: &str, table: &str) -> Option<String> {
    let (database, _) = table.rsplit_once('.')?;
    Some(of_table(prefix, &format!("{database}.{HEARTBEAT_TABLE}")))
}

/// The topic of logical messages (Postgres).
#[must_use]
pub fn of_messages(prefix: &str) -> String {
    format!("{prefix}.message")
}

/// The topic of transactions' beginnings and ends.
#[must_use]
pub fn of_transactions(prefix: &str) -> String {
    format!("{prefix}.transaction")
}

/// The topic of what Debezium tells of its snapshots.
#[must_use]
pub fn of_notifications(prefix: &str) -> String {
    format!("{prefix}.notification")
}

/// The topic of Debezium's own heartbeats.
#[must_use]
pub fn of_debezium_heartbeats(prefix: &str) -> String {
    format!("{DEBEZIUM_HEARTBEATS}.{prefix}")
}

/// The topic of schema changes.
#[must_use]
pub fn of_schema_changes(prefix: &str) -> String {
    prefix.to_owned()
}

/// A table's name as Debezium writes it in a topic: what isn't a letter, digit, dot, dash or underscore becomes an
/// underscore.
#[must_use]
pub fn part(table: &str) -> String {
    table.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_spelled_as_debezium_spells_them() {
        assert_eq!(of_table("shop", "Inventory.my table$"), "shop.Inventory.my_table_");
        let beside = of_heartbeats_beside("shop", "inven tory.product");
        assert_eq!(beside.as_deref(), Some("shop.inven_tory.freshet_heartbeat"));
        assert_eq!(of_heartbeats_beside("shop", "product"), None);
    }
}
