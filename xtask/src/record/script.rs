//! The tables of a recording, their first rows, and what is then done to them.

/// The tables.
pub(super) const TABLES: &str = r#"
CREATE SCHEMA inventory;
CREATE TABLE inventory.product (id int PRIMARY KEY, name text NOT NULL, price numeric(10,2), note text DEFAULT 'none', active boolean DEFAULT true, manual text);
ALTER TABLE inventory.product ALTER COLUMN manual SET STORAGE EXTERNAL;
CREATE TABLE inventory.category (id int PRIMARY KEY, name text, note text DEFAULT 'none', manual text);
ALTER TABLE inventory.category ALTER COLUMN manual SET STORAGE EXTERNAL;
ALTER TABLE inventory.category REPLICA IDENTITY FULL;
CREATE TABLE inventory.stock (warehouse text, shelf int, quantity int NOT NULL DEFAULT 0, PRIMARY KEY (warehouse, shelf));
CREATE TABLE inventory.customer (id uuid PRIMARY KEY, email text);
CREATE TABLE inventory.page (path text PRIMARY KEY, body text);
CREATE TABLE inventory.measure (id bigint PRIMARY KEY, amount numeric, ratio double precision, at timestamptz, day date, tags text[], data jsonb, raw bytea);
CREATE TABLE inventory.visit (page text, at timestamp);
CREATE TABLE inventory.payment (customer uuid, amount numeric(12,4));
ALTER TABLE inventory.payment REPLICA IDENTITY FULL;
CREATE TABLE inventory."Odd Table" ("Id No" int PRIMARY KEY, "a.b" text);
"#;

/// The rows that Debezium finds at its start.
pub(super) const ROWS: &str = r#"
INSERT INTO inventory.product SELECT n, 'product ' || n, n + 0.5 FROM generate_series(1, 4) AS n;
INSERT INTO inventory.category VALUES (1, 'tools', NULL, repeat('c', 2100)), (2, 'toys', DEFAULT, NULL);
INSERT INTO inventory.stock VALUES ('berlin', 42, 7), ('a/b', 1, 0);
INSERT INTO inventory.customer VALUES ('6f9619ff-8b86-d011-b42d-00c04fc964ff', 'a@example.com');
INSERT INTO inventory.page VALUES ('', 'the empty path'), ('/', 'root');
INSERT INTO inventory.measure VALUES (9007199254740993, 'NaN', 'NaN', '2026-11-21 02:05:06.789012+00', 'infinity', '{a,NULL}', '{"k": [1, 2]}', '\xdeadbeef');
INSERT INTO inventory.visit VALUES ('/', '2026-11-21 02:05:06.789012');
INSERT INTO inventory.payment VALUES ('6f9619ff-8b86-d011-b42d-00c04fc964ff', 9.5);
INSERT INTO inventory."Odd Table" VALUES (1, 'one');
"#;

/// What is done while Debezium follows. Each element is one transaction.
pub(super) const CHANGES: &[&str] = &[
    // A row's life: insert, update, a column with a default set to null, a large value, an update beside it, delete.
    "INSERT INTO inventory.product (id, name, price) VALUES (10, 'hammer', 9.50)",
    "UPDATE inventory.product SET price = 10.00 WHERE id = 10",
    "UPDATE inventory.product SET note = NULL, active = NULL WHERE id = 10",
    "UPDATE inventory.product SET manual = repeat('m', 2100) WHERE id = 10",
    "UPDATE inventory.product SET name = 'sledgehammer' WHERE id = 10",
    "DELETE FROM inventory.product WHERE id = 10",
    // Where the whole old row is logged.
    "UPDATE inventory.category SET note = NULL, name = 'Tools' WHERE id = 1",
    "UPDATE inventory.category SET id = 11 WHERE id = 2",
    "DELETE FROM inventory.category WHERE id = 11",
    // Key changes: one, and a swap within a transaction.
    "UPDATE inventory.product SET id = 20 WHERE id = 2",
    "UPDATE inventory.product SET id = -1 WHERE id = 3; UPDATE inventory.product SET id = 3 WHERE id = 4; \
     UPDATE inventory.product SET id = 4 WHERE id = -1",
    // Composite, UUID and text keys.
    "INSERT INTO inventory.stock VALUES ('zürich', -2, 5)",
    "UPDATE inventory.stock SET shelf = 43 WHERE warehouse = 'berlin'",
    "INSERT INTO inventory.customer VALUES ('A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', NULL)",
    "INSERT INTO inventory.page VALUES ('../a b/%2F?q=1&r=\"x\"#\\', 'odd')",
    // Values at the edges of their types.
    "INSERT INTO inventory.measure VALUES (-9223372036854775808, 12345678901234567890.123456789, 'Infinity', \
     '-infinity', '0001-01-01 BC', '{}', 'null', ''), (0, '-Infinity', 1e-300, '2026-11-21 12:00:00+02', \
     '1970-01-01', '{\"a,b\",\"\"}', '{\"id\": 9007199254740993}', '\\x00')",
    // Tables without a key.
    "INSERT INTO inventory.visit VALUES ('/', NULL)",
    "INSERT INTO inventory.payment VALUES (NULL, 'NaN')",
    "UPDATE inventory.payment SET amount = 1 WHERE customer IS NULL",
    "DELETE FROM inventory.payment WHERE customer IS NULL",
    // Names that need quotes.
    "UPDATE inventory.\"Odd Table\" SET \"a.b\" = NULL",
    // A transaction with several rows of several tables, one of which comes and goes.
    "INSERT INTO inventory.product (id, name) VALUES (30, 'saw'), (31, 'axe'); \
     UPDATE inventory.category SET name = 'TOOLS' WHERE id = 1; DELETE FROM inventory.product WHERE id = 31",
    // Messages of the application's own, outside and inside a transaction.
    "SELECT pg_logical_emit_message(false, 'app', 'hello')",
    "SELECT pg_logical_emit_message(true, 'app', E'bytes \\u00e9'); UPDATE inventory.product SET name = 'sawn' WHERE id = 30",
    // Two tables at once, and the first row after that.
    "TRUNCATE inventory.stock, inventory.page",
    "INSERT INTO inventory.stock VALUES ('berlin', 42, 8)",
];

/// What is done after that, except where each entry carries its schema and is four times as large.
pub(super) const FURTHER_CHANGES: &[&str] = &[
    "INSERT INTO inventory.page VALUES (E'tab\\there\\nand there', NULL), ('naïve/π/😀', '😀'), ('7', 'digits'), \
     ('007', 'more digits'), ('default', 'a word'), (repeat('long/', 220), ''), ('', 'empty again')",
    "UPDATE inventory.page SET body = path",
    "DELETE FROM inventory.page WHERE path IN ('', '7', 'default')",
    "INSERT INTO inventory.category VALUES (12, 'books', NULL, NULL)",
    "UPDATE inventory.customer SET email = 'b@example.com'",
    "UPDATE inventory.stock SET quantity = 6 WHERE warehouse = 'berlin'",
    "UPDATE inventory.measure SET amount = NULL, at = 'infinity' WHERE id = 0",
    "INSERT INTO inventory.measure VALUES (9223372036854775807, -0.001, '-0', '1969-12-31 23:59:59.999999+00', \
     '2026-11-21', NULL, '\"text\"', NULL)",
    "INSERT INTO inventory.visit VALUES ('/', NULL), ('/', NULL)",
    "UPDATE inventory.\"Odd Table\" SET \"Id No\" = 2",
    // Transactions: one rolled back, one partly, one that changes nothing, rows written twice, one record in the log
    // for several rows.
    "BEGIN; INSERT INTO inventory.product (id, name) VALUES (40, 'never'); ROLLBACK",
    "BEGIN; INSERT INTO inventory.product (id, name) VALUES (41, 'kept'); SAVEPOINT s; \
     INSERT INTO inventory.product (id, name) VALUES (42, 'never'); ROLLBACK TO s; COMMIT",
    "UPDATE inventory.product SET name = 'nobody' WHERE id = 999",
    "UPDATE inventory.product SET name = 'saw 1' WHERE id = 30; UPDATE inventory.product SET name = 'saw 2' WHERE id = 30",
    "DELETE FROM inventory.product WHERE id = 1; INSERT INTO inventory.product (id, name) VALUES (1, 'again')",
    "COPY inventory.stock FROM PROGRAM 'printf \"copy\\t1\\t1\\ncopy\\t2\\t2\\ncopy\\t3\\t3\\n\"'",
    // The table's form changes.
    "ALTER TABLE inventory.product ADD COLUMN rating int DEFAULT 3",
    "UPDATE inventory.product SET rating = NULL WHERE id = 41",
    "ALTER TABLE inventory.product DROP COLUMN rating; UPDATE inventory.product SET name = 'narrow' WHERE id = 41",
];
