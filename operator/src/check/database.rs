//! Asks a Postgres for what the check compares. It writes nothing and needs no rights of its own.

use freshet_debezium::check::{Facts, Part, Publication, Slot, Table};
use postgres::{Client, Config, NoTls, Row, error::SqlState};

/// Why there is no answer. None of its texts carries the URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("the URL isn't postgres://user[:password]@host[:port]/database")]
    Url,
    #[error("{}", said(.0))]
    Postgres(#[from] postgres::Error),
}

/// All in one answer, so that it belongs together.
const SERVER: &str = "SELECT current_setting('wal_level'), current_setting('server_version_num')::int, \
     to_regclass('public.freshet_hb') IS NOT NULL";
const PUBLICATION: &str = "SELECT pubviaroot, pubinsert, pubupdate, pubdelete, pubtruncate FROM pg_publication \
     WHERE pubname = $1";
const SLOT: &str = "SELECT coalesce(plugin, ''), coalesce(wal_status = 'lost', false) FROM pg_replication_slots WHERE slot_name = $1";
/// A partitioned table is published as itself or by its partitions.
const TABLE: &str = "SELECT c.oid, c.relkind = 'p', \
     (SELECT coalesce(array_agg(a.attname::text ORDER BY a.attnum), '{}') FROM pg_constraint k \
       JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey) \
       WHERE k.conrelid = c.oid AND k.contype = 'p'), \
     (SELECT coalesce(array_agg(a.attname::text ORDER BY a.attnum), '{}') FROM pg_attribute a \
       WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), \
     EXISTS (SELECT FROM pg_publication_tables p WHERE p.pubname = $3 AND (p.schemaname, p.tablename) = ($1, $2)) \
       OR c.relkind = 'p' AND EXISTS (SELECT FROM pg_publication_tables p JOIN pg_partition_tree(c.oid) t \
          ON t.relid = to_regclass(quote_ident(p.schemaname) || '.' || quote_ident(p.tablename)) \
          WHERE p.pubname = $3) \
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')";
/// What has rows of a table: a partitioned one has none itself, and its own settings aren't its partitions'.
const ROWS: &str = "SELECT n.nspname || '.' || c.relname, c.relreplident::text, c.reltoastrelid <> 0, \
     EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary) \
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind = 'r' AND (c.oid = $1 OR c.oid IN (SELECT relid FROM pg_partition_tree($1) WHERE isleaf)) \
     ORDER BY 1";
/// Since Postgres 15 a publication can leave out rows and columns.
const PARTS: &str = "SELECT p.rowfilter, (SELECT coalesce(array_agg(a.attname::text ORDER BY a.attnum), '{}') \
       FROM pg_attribute a WHERE a.attrelid = to_regclass(quote_ident($1) || '.' || quote_ident($2)) \
       AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND NOT a.attname = ANY (p.attnames)) \
     FROM pg_publication_tables p WHERE p.pubname = $3 AND (p.schemaname, p.tablename) = ($1, $2)";

/// Asks for a publication and a slot, where their names are known, for tables (`schema.table`), and for the one of signals.
pub(super) fn ask(
    url: &str,
    publication: Option<&str>,
    slot: Option<&str>,
    tables: &[String],
    signals: Option<&str>,
) -> Result<Facts, NoAnswer> {
    let mut config: Config = url.parse().map_err(|_| NoAnswer::Url)?;
    if config.get_password().is_none()
        && let Ok(password) = std::env::var("PGPASSWORD")
    {
        config.password(password);
    }
    let mut client = config.connect_timeout(std::time::Duration::from_secs(10)).connect(NoTls)?;
    // A look at a database that is in use: it must not wait long for anything.
    client.batch_execute("SET default_transaction_read_only = on; SET statement_timeout = '10s'")?;
    let server = client.query_one(SERVER, &[])?;
    let version: i32 = server.get(1);
    let published = client.query_opt(PUBLICATION, &[&publication])?.map(|row| Publication {
        name: publication.unwrap_or_default().to_owned(),
        via_root: row.get(0),
        without: ["insert", "update", "delete", "truncate"]
            .iter()
            .enumerate()
            .filter(|(place, _)| !row.get::<_, bool>(place + 1))
            .map(|(_, operation)| (*operation).to_owned())
            .collect(),
    });
    let slot = client.query_opt(SLOT, &[&slot])?.map(|row| Slot {
        name: slot.unwrap_or_default().to_owned(),
        plugin: row.get(0),
        lost: row.get(1),
    });
    let mut look = |name: &str| table(&mut client, name, publication, version >= 150_000);
    let signals = signals.map(&mut look).transpose()?;
    let tables = tables.iter().map(|name| look(name));
    Ok(Facts {
        wal_level: server.get(0),
        publication: published,
        slot,
        tables: tables.collect::<Result<_, _>>()?,
        sequence: server.get(2),
        signals,
    })
}

fn table(client: &mut Client, name: &str, publication: Option<&str>, parts: bool) -> Result<Table, NoAnswer> {
    let (schema, relation) = name.split_once('.').unwrap_or(("public", name));
    let asked = client.query_opt(TABLE, &[&schema, &relation, &publication])?;
    let Some(row) = asked else { return Ok(Table { name: name.to_owned(), ..Table::default() }) };
    let mut table = Table {
        name: name.to_owned(),
        exists: true,
        partitioned: row.get(1),
        key: row.get(2),
        columns: row.get(3),
        published: row.get(4),
        row_filter: None,
        left_out: Vec::new(),
        parts: client.query(ROWS, &[&row.get::<_, u32>(0)])?.iter().map(part).collect(),
    };
    if parts && let Some(row) = client.query_opt(PARTS, &[&schema, &relation, &publication])? {
        (table.row_filter, table.left_out) = (row.get(0), row.get(1));
    }
    Ok(table)
}

fn part(row: &Row) -> Part {
    Part {
        name: row.get(0),
        identity: row.get::<_, String>(1).chars().next().unwrap_or('d'),
        toasted: row.get(2),
        primary_key: row.get(3),
    }
}

/// What is to be done where a server speaks TLS alone.
const WITHOUT_TLS: &str = "this program connects without TLS: let it in so from where it runs, or reach the server through a tunnel";

/// What Postgres says, or what kept it from saying anything.
fn said(error: &postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        let message = db.message();
        // So Postgres words it where it lets in only those who encrypt.
        let encrypted =
            *db.code() == SqlState::INVALID_AUTHORIZATION_SPECIFICATION && message.ends_with("no encryption");
        return if encrypted { format!("{message}; {WITHOUT_TLS}") } else { message.to_owned() };
    }
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    let remedy = if error.to_string().contains("TLS") { format!("; {WITHOUT_TLS}") } else { String::new() };
    format!("{error}{cause}{remedy}")
}
