//! What a Postgres lacks.

use super::*;

type Break = fn(&mut Facts);

fn part(name: &str) -> Part {
    Part { name: name.into(), primary_key: true, identity: 'd', toasted: false }
}

pub(super) fn facts() -> Facts {
    let table = |name: &str| Table {
        name: name.into(),
        exists: true,
        published: true,
        key: vec!["id".into()],
        columns: vec!["id".into(), "price".into()],
        parts: vec![part(name)],
        ..Table::default()
    };
    Facts {
        wal_level: "logical".into(),
        publication: Some(Publication { name: "freshet_shop".into(), via_root: true, without: vec![] }),
        slot: Some(Slot { name: "freshet_shop".into(), plugin: "pgoutput".into(), lost: false }),
        tables: vec![table("inventory.product"), table("inventory.category")],
        sequence: true,
        signals: None,
    }
}

#[test]
fn what_views_over_rows_lack_is_told() {
    let binding = ranked();
    let file = generated(&binding, Database::Postgres);
    let signals =
        Table { name: "public.freshet_signal".into(), exists: true, published: true, ..Table::default() };
    let good = Facts { signals: Some(signals), ..facts() };
    assert_eq!(found(&binding, &file, Some(&good)), [""; 0]);
    let cases: &[(Break, &str)] = &[
        (
            |f| f.signals.as_mut().unwrap().exists = false,
            "warning: database: the table public.freshet_signal isn't there: no snapshot can be asked for: CREATE TABLE IF NOT \
             EXISTS public.freshet_signal (",
        ),
        (
            |f| f.signals.as_mut().unwrap().published = false,
            "warning: database: public.freshet_signal isn't in the publication freshet_shop: no request for a snapshot is \
             heard: ALTER PUBLICATION freshet_shop ADD TABLE public.freshet_signal",
        ),
        (
            |f| {
                f.tables[0].key.clear();
                f.tables[0].parts[0].identity = 'f';
            },
            "error: database: inventory.product has no primary key, by which views tell its rows apart",
        ),
        (
            |f| f.tables[0].key.push("warehouse".into()),
            "error: database: the primary key of inventory.product is (id, warehouse), and the cache products has the key (id): \
             no view over it is ever whole",
        ),
        (
            |f| f.tables[0].columns = vec!["id".into(), "Price".into()],
            "error: database: inventory.product has no column price, which the view top goes by: its columns are id, Price",
        ),
        (
            |f| f.tables[0].parts[0].toasted = true,
            "warning: database: inventory.product can have values of more than 2 kB: after an update",
        ),
    ];
    for (fault, wanted) in cases {
        let mut facts = good.clone();
        fault(&mut facts);
        let found = found(&binding, &file, Some(&facts));
        assert!(found.len() == 1 && found[0].starts_with(wanted), "{wanted}: {found:#?}");
    }
    // To a binding without views over rows it is nothing.
    let mut facts = good;
    facts.signals.as_mut().unwrap().exists = false;
    let other = super::binding();
    assert_eq!(found(&other, &generated(&other, Database::Postgres), Some(&facts)), [""; 0]);
}

#[test]
fn what_the_database_lacks_is_told() {
    let binding = binding();
    let file = generated(&binding, Database::Postgres);
    assert_eq!(found(&binding, &file, Some(&facts())), [""; 0]);
    let cases: &[(Break, &str)] = &[
        (|f| f.wal_level = "replica".into(), "error: database: wal_level is replica"),
        (|f| f.sequence = false, "error: database: the heartbeat's sequence isn't there"),
        (
            |f| f.publication = None,
            "error: database: the publication isn't there: CREATE PUBLICATION freshet_shop FOR",
        ),
        (|f| f.publication.as_mut().unwrap().without.push("truncate".into()), "doesn't send truncates"),
        (
            |f| {
                f.publication.as_mut().unwrap().name = "My-pub".into();
                f.tables[1].published = false;
            },
            ": ALTER PUBLICATION \"My-pub\" ADD TABLE inventory.category",
        ),
        (|f| f.slot = None, "hint: database: the replication slot isn't there yet"),
        (|f| f.slot.as_mut().unwrap().lost = true, "error: database: the slot freshet_shop has lost log"),
        (
            |f| f.slot.as_mut().unwrap().plugin = "decoderbufs".into(),
            "warning: database: the slot freshet_shop is decoded by",
        ),
        (|f| f.tables[1].exists = false, "error: database: there is no table inventory.category"),
        (|f| f.tables[0].published = false, "error: database: inventory.product isn't in the publication"),
        (
            |f| f.tables[0].row_filter = Some("(id > 5)".into()),
            "error: database: only rows of inventory.product with (id > 5)",
        ),
        (
            |f| f.tables[0].left_out.push("note".into()),
            "warning: database: columns of inventory.product aren't published: note",
        ),
        (
            |f| f.tables[0].parts[0].primary_key = false,
            "error: database: inventory.product has no replica identity",
        ),
        (
            |f| f.tables[0].parts[0].identity = 'n',
            "error: database: inventory.product has no replica identity: once published, Postgres refuses updates and \
             deletes there: give it a primary key, or ALTER TABLE inventory.product REPLICA IDENTITY FULL",
        ),
        (
            |f| {
                f.tables[0].partitioned = true;
                f.tables[0].parts =
                    ["Old", "a", "b", "c"].map(|name| part(&format!("inventory.{name}"))).into();
                f.tables[0].parts[0].identity = 'n';
            },
            "inventory.Old, a partition of inventory.product, has no replica identity: once published, Postgres \
             refuses updates and deletes there: give it a primary key, or ALTER TABLE inventory.\"Old\" REPLICA",
        ),
        (
            |f| {
                f.tables[0].partitioned = true;
                f.tables[0].parts = ["a", "b", "c", "d"]
                    .map(|name| Part { identity: 'n', ..part(&format!("inventory.{name}")) })
                    .into();
            },
            "inventory.a, inventory.b, inventory.c and 1 further partitions of inventory.product have no replica",
        ),
        (
            |f| {
                f.tables[0].key.clear();
                f.tables[0].parts[0].identity = 'f';
            },
            "hint: database: inventory.product has no primary key",
        ),
        (
            |f| f.tables[0].parts[0].toasted = true,
            "hint: database: inventory.product is hydrated and can have values",
        ),
        (
            |f| (f.tables[0].partitioned, f.publication.as_mut().unwrap().via_root) = (true, false),
            "error: database: inventory.product is partitioned",
        ),
    ];
    for (fault, wanted) in cases {
        let mut broken = facts();
        fault(&mut broken);
        let found = found(&binding, &file, Some(&broken));
        assert!(found.len() == 1 && found[0].contains(wanted), "{wanted}: {found:#?}");
    }
}
