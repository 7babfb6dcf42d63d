//! The settings of Debezium Server, each with what it protects.

use freshet_crds::topics;

use crate::{Captured, Database, Heartbeat, Pipeline, Publication, Routing};

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// The part of the file it belongs to.
    pub part: Part,
    /// Its whole name.
    pub name: &'static str,
    /// Its value, as Debezium shall see it.
    pub value: String,
    /// What it protects, or is for, in one line.
    pub protects: &'static str,
}

/// The parts of the file, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Where entries go.
    Sink,
    /// What an entry holds.
    Entries,
    /// Into which streams.
    Routing,
    /// Where changes come from.
    Source,
    /// Which changes, and what of them.
    Changes,
    /// The proof that changes come through.
    Heartbeats,
    /// What is told of snapshots, and how one is asked for.
    Snapshots,
    /// What Debezium remembers.
    Memory,
    /// The server itself.
    Server,
}

/// Properties under way.
pub(crate) struct List(pub(crate) Vec<Property>);

// === impl Part ===

impl Part {
    /// All of them, in order.
    pub const ALL: [Self; 9] = [
        Self::Sink,
        Self::Entries,
        Self::Routing,
        Self::Source,
        Self::Changes,
        Self::Heartbeats,
        Self::Snapshots,
        Self::Memory,
        Self::Server,
    ];

    /// Its heading.
    #[must_use]
    pub fn heading(self) -> &'static str {
        match self {
            Self::Sink => "To: the sink",
            Self::Entries => "What an entry holds",
            Self::Routing => "Into which stream",
            Self::Source => "From: the database",
            Self::Changes => "Which changes, and what of them",
            Self::Heartbeats => "Heartbeats",
            Self::Snapshots => "Snapshots, which views over rows begin with",
            Self::Memory => "What Debezium remembers",
            Self::Server => "The server itself",
        }
    }
}

// === impl Pipeline ===

impl Pipeline {
    /// All settings, by part.
    #[must_use]
    pub fn properties(&self) -> Vec<Property> {
        let mut all: Vec<_> = self.behaviour().into_iter().chain(self.places()).collect();
        // Stable: within a part they stay in the order in which they are explained.
        all.sort_by_key(|property| Part::ALL.iter().position(|part| *part == property.part));
        all
    }

    /// The settings that don't depend on where database and sink are.
    #[must_use]
    pub fn behaviour(&self) -> Vec<Property> {
        let mut list = List(Vec::new());
        self.sink(&mut list);
        Self::entries(&mut list);
        self.routing(&mut list);
        self.connector(&mut list);
        self.changes(&mut list);
        self.heartbeats(&mut list);
        self.snapshots(&mut list);
        self.memory(&mut list);
        list.0
    }

    fn entries(list: &mut List) {
        let schemas =
            "Entries without their schema: it makes each several times as long and tells nothing new.";
        for name in [
            "debezium.format.key.schemas.enable",
            "debezium.format.value.schemas.enable",
            "debezium.format.header.schemas.enable",
        ] {
            list.add(Part::Entries, name, "false", schemas);
        }
        list.add(
            Part::Entries,
            "debezium.format.value.replace.null.with.default",
            "false",
            "NULL stays NULL: else a column's DEFAULT stands in its place, and no such row is ever hydrated.",
        );
    }

    fn routing(&self, list: &mut List) {
        let Routing::OneStream(stream) = &self.routing else { return };
        for (name, value, protects) in [
            (
                "debezium.transforms",
                "one",
                "One stream for everything: one position, and no stream ahead of another.",
            ),
            (
                "debezium.transforms.one.type",
                "org.apache.kafka.connect.transforms.RegexRouter",
                "Renames topics and leaves keys and values as they are.",
            ),
            (
                "debezium.transforms.one.regex",
                ".*",
                "Rows, transactions, heartbeats and schema changes alike: in the order of commit.",
            ),
            ("debezium.transforms.one.replacement", stream, "The stream that the binding follows."),
        ] {
            list.add(Part::Routing, name, value, protects);
        }
    }

    fn connector(&self, list: &mut List) {
        let class = match self.database {
            Database::Postgres => "io.debezium.connector.postgresql.PostgresConnector",
            Database::MariaDb => "io.debezium.connector.mariadb.MariaDbConnector",
        };
        list.add(Part::Source, "debezium.source.connector.class", class, "Which database it is.");
        let named = match self.routing {
            Routing::PerTable => "The binding's topicPrefix: streams are <prefix>.<table>.",
            Routing::OneStream(_) => "What Debezium calls this source in what it remembers: keep it.",
            Routing::Subjects => "What all subjects begin with: the stream's own have to cover them.",
        };
        list.add(Part::Source, "debezium.source.topic.prefix", &self.prefix, named);
        match self.database {
            Database::Postgres => self.slot_and_publication(list),
            Database::MariaDb => list.add(
                Part::Source,
                "debezium.source.database.server.id",
                &self.server_id().to_string(),
                "No other replica or client of the binlog may have it: two of one id throw each other out.",
            ),
        }
        self.silence(list);
    }

    /// What ends a connection to the database on which nothing comes any more. The binlog's own is watched by
    /// `connect.keep.alive.interval.ms`.
    fn silence(&self, list: &mut List) {
        // The drivers differ: seconds here, milliseconds there.
        let patience = match self.database {
            Database::Postgres => "20",
            Database::MariaDb => "20000",
        };
        list.add(
            Part::Source,
            "debezium.source.driver.socketTimeout",
            patience,
            "A connection that is half open is given up after 20 s without an answer: by default Debezium waits for ever.",
        );
        if self.database == Database::Postgres {
            list.add(
                Part::Source,
                "debezium.source.driver.options",
                "-c wal_sender_timeout=20s",
                "The server frees the slot of a Debezium that it doesn't hear: 60 s by default, and until then no other has it.",
            );
            list.add(
                Part::Source,
                "debezium.source.status.update.interval.ms",
                "2000",
                "How often it asks whether the database still answers, and lets itself be heard: 10 s by default.",
            );
        }
    }

    fn slot_and_publication(&self, list: &mut List) {
        list.add(
            Part::Source,
            "debezium.source.plugin.name",
            "pgoutput",
            "Postgres' own decoder: nothing to install.",
        );
        list.add(
            Part::Source,
            "debezium.source.slot.name",
            &self.slot(),
            "The slot keeps the log until it was read: no change is lost while Debezium is away.",
        );
        list.add(
            Part::Source,
            "debezium.source.publication.name",
            &self.slot(),
            "What the database sends: these tables, and all of their rows and columns.",
        );
        let mode = match (self.publication, &self.captured) {
            (Publication::Prepared, _) => "disabled",
            (Publication::MadeByDebezium, Captured::All) => "all_tables",
            (Publication::MadeByDebezium, Captured::These(_)) => "filtered",
        };
        list.add(
            Part::Source,
            "debezium.source.publication.autocreate.mode",
            mode,
            "disabled: the owner makes it, and a missing one is an error instead of a surprise.",
        );
    }

    fn changes(&self, list: &mut List) {
        if let Some(tables) = self.tables() {
            let tables: Vec<_> = tables.iter().map(|table| pattern(table)).collect();
            list.add(
                Part::Changes,
                "debezium.source.table.include.list",
                &tables.join(","),
                "Exactly what the binding's caches depend on, as regular expressions: nothing else fills the streams.",
            );
        }
        for (name, value, protects) in [
            (
                "debezium.source.skipped.operations",
                "none",
                "Truncates come, too: by default they are dropped, and caches would never hear of them.",
            ),
            (
                "debezium.source.tombstones.on.delete",
                "false",
                "A delete is one entry: a tombstone in one stream for all doesn't say of which table it is.",
            ),
            (
                "debezium.source.provide.transaction.metadata",
                "true",
                "How many rows each transaction had: entries that never came show, and a commit has a position.",
            ),
            (
                "debezium.source.decimal.handling.mode",
                "string",
                "numeric as text: else it is base64 of an integer whose scale only the schema would tell.",
            ),
            ("debezium.source.poll.interval.ms", "5", "What most changes would wait for: 500 by default."),
        ] {
            list.add(Part::Changes, name, value, protects);
        }
        let (mode, why) = if self.reads_values {
            (
                "fail",
                "What can't be converted stops Debezium: by default it becomes NULL, in values and in keys.",
            )
        } else {
            (
                "warn",
                "What can't be converted becomes NULL: nothing to caches that only invalidate by the row's key.",
            )
        };
        list.add(Part::Changes, "debezium.source.event.converting.failure.handling.mode", mode, why);
        if self.database == Database::Postgres && self.reads_values {
            list.add(
                Part::Changes,
                "debezium.source.include.unknown.datatypes",
                "true",
                "Columns of types that Debezium doesn't know come as base64 of their text: else events are without.",
            );
        }
        if self.database == Database::MariaDb {
            list.add(
                Part::Changes,
                "debezium.source.include.schema.changes",
                "true",
                "An altered or dropped table voids what is cached of it.",
            );
        }
    }

    fn heartbeats(&self, list: &mut List) {
        if self.heartbeat == Heartbeat::Off {
            return;
        }
        list.add(
            Part::Heartbeats,
            "debezium.source.heartbeat.interval.ms",
            &self.beat.as_millis().to_string(),
            "How soon a loss on the way is noticed; keep it well below the binding's maxStaleness.",
        );
        if self.database == Database::MariaDb {
            // Long enough for a server that is busy, since a longer silence makes Debezium connect anew.
            list.add(
                Part::Heartbeats,
                "debezium.source.connect.keep.alive.interval.ms",
                "2500",
                "While nothing changes, a heartbeat comes as often as the binlog's own: 0.8 of this, by default 48 s.",
            );
        }
        if self.queries() {
            list.add(
                Part::Heartbeats,
                "debezium.source.heartbeat.action.query",
                &self.heartbeat_query(),
                "Through the database's log and back, numbered, with its clock and the commit before it: what was lost shows.",
            );
        }
    }

    fn snapshots(&self, list: &mut List) {
        if !self.tells_snapshots() {
            return;
        }
        let topic = topics::of_notifications(&self.prefix);
        for (name, value, protects) in [
            (
                "debezium.source.notification.enabled.channels",
                "sink",
                "How many rows a snapshot had, told in the stream: without it no view over rows is ever whole.",
            ),
            (
                "debezium.source.notification.sink.topic.name",
                &topic,
                "Routed like all else; Debezium doesn't start without a name.",
            ),
            (
                "debezium.source.signal.enabled.channels",
                "source",
                "A snapshot can be asked for by SQL, while Debezium runs, with the statement that goes with these settings.",
            ),
            (
                "debezium.source.signal.data.collection",
                &self.signal_table(),
                "The table that takes it, captured like the others: its rows are no cache's.",
            ),
        ] {
            list.add(Part::Snapshots, name, value, protects);
        }
    }

    fn memory(&self, list: &mut List) {
        let mut add = |name, value: &str, protects| list.add(Part::Memory, name, value, protects);
        let of_redis = self.sink.redis().is_some();
        if of_redis {
            add(
                "debezium.source.offset.storage",
                "io.debezium.storage.redis.offset.RedisOffsetBackingStore",
                "The position is kept beside the streams: a restart goes on where it was.",
            );
            add(
                "debezium.source.offset.storage.redis.key",
                &format!("metadata:debezium:offsets:{}", self.prefix),
                "Of each Debezium its own: one that starts takes the whole hash for its own and writes it back so.",
            );
        } else {
            add(
                "debezium.source.offset.storage",
                "org.apache.kafka.connect.storage.FileOffsetBackingStore",
                "The position is in a file: a restart goes on where it was.",
            );
            add(
                "debezium.source.offset.storage.file.filename",
                "data/offsets.dat",
                "In a volume that outlives the pod (/debezium/data): else each start reads all tables again, and may miss deletes.",
            );
        }
        add(
            "debezium.source.offset.flush.interval.ms",
            "0",
            "Written after each batch, so that a restart repeats little.",
        );
        if self.database == Database::Postgres {
            return;
        }
        let history = "How tables looked when the log was written: without it the log can't be read. Never to be trimmed.";
        if of_redis {
            add(
                "debezium.source.schema.history.internal",
                "io.debezium.storage.redis.history.RedisSchemaHistory",
                history,
            );
            add(
                "debezium.source.schema.history.internal.redis.key",
                &format!("metadata:debezium:schema_history:{}", self.prefix),
                "Under metadata:debezium: no retention of Freshet's touches it.",
            );
        } else {
            add(
                "debezium.source.schema.history.internal",
                "io.debezium.storage.file.history.FileSchemaHistory",
                history,
            );
            add(
                "debezium.source.schema.history.internal.file.filename",
                "data/schema-history.dat",
                "In the same volume as the position.",
            );
        }
    }
}

// === impl List ===

impl List {
    pub(crate) fn add(&mut self, part: Part, name: &'static str, value: &str, protects: &'static str) {
        self.0.push(Property { part, name, value: value.to_owned(), protects });
    }
}

/// A table's name as a regular expression that means it alone. Without backslashes, which the file's syntax and the
/// replacing of `${…}` would both take for their own.
pub(crate) fn pattern(table: &str) -> String {
    table.replace('$', "[$]").replace('.', "[.]")
}
