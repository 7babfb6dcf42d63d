//! Faults of settings.

/// A setting, the faulty value that it is given (none: it is left out), and what must be said of it.
pub(super) type Fault = (&'static str, &'static str, &'static str);

/// Of a Postgres, for a binding of one stream that hydrates rows and takes the database's heartbeat.
pub(super) const POSTGRES: &[Fault] = &[
    ("sink.type", "kafka", "error: f:LINE: the sink isn't Redis"),
    ("sink.redis.address", "other:6379", "warning: f:LINE: Debezium writes to other:6379"),
    ("sink.redis.db.index", "3", "error: f:LINE: Debezium writes to database 3"),
    ("sink.redis.message.format", "", "hint: f: compact entries"),
    ("sink.redis.message.format", "xml", "error: f:LINE: xml is no format"),
    ("source.topic.prefix", "", "error: f: there is no topic prefix"),
    (
        "transforms",
        "",
        "error: f: changes of inventory.product go to shop.inventory.product, the binding looks for them in shop.cdc",
    ),
    (
        "transforms.one.replacement",
        "shop.other",
        "error: f:TRANSFORMS: changes of inventory.category go to shop.other",
    ),
    (
        "transforms.one.regex",
        "shop[.]inventory.*",
        "error: f:TRANSFORMS: the database's heartbeats go to shop.message",
    ),
    (
        "transforms.one.regex",
        "shop[.].*",
        "warning: f:TRANSFORMS: Debezium's heartbeats go to __debezium-heartbeat.shop, the binding looks",
    ),
    ("transforms", "one,mask", "warning: f:LINE: the transform mask can't be judged"),
    ("sink.redis.null.key", "none", "warning: f:LINE: entries without a key"),
    ("sink.redis.null.value", "none", "warning: f:LINE: tombstones are taken"),
    ("transforms.one.regex", "(?!x).*", "warning: f:TRANSFORMS: (?!x).* can't be judged"),
    ("source.table.include.list", "inventory[.]product", "error: f:LINE: inventory.category isn't captured"),
    ("source.table.exclude.list", "inventory[.]p.*", "error: f:LINE: inventory.product isn't captured"),
    ("source.schema.include.list", "sales", "error: f:LINE: inventory.product isn't captured"),
    ("source.schema.exclude.list", "INVENTORY", "error: f:LINE: inventory.product isn't captured"),
    ("source.table.include.list", "(?<=a)b", "warning: f:LINE: (?<=a)b can't be judged"),
    ("source.skipped.operations", "", "error: f: truncates are skipped"),
    ("source.skipped.operations", "u,d", "error: f:LINE: deletes are skipped"),
    ("source.snapshot.mode", "initial_only", "error: f:LINE: Debezium reads what is there and stops"),
    ("source.snapshot.mode", "configuration_based", "error: f: Debezium reads what is there and stops"),
    ("source.snapshot.mode", "custom", "warning: f:LINE: a snapshot of somebody's own"),
    (
        "source.event.processing.failure.handling.mode",
        "warn",
        "error: f:LINE: a change that Debezium can't process is left out",
    ),
    (
        "source.event.converting.failure.handling.mode",
        "",
        "error: f: a value that Debezium can't convert becomes NULL in the event, and is hydrated so",
    ),
    (
        "source.event.converting.failure.handling.mode",
        "skip",
        "error: f:LINE: a value that Debezium can't convert becomes NULL",
    ),
    ("source.include.unknown.datatypes", "", "warning: f: columns of types that Debezium doesn't know"),
    ("source.slot.stream.params", "origin=none", "warning: f:LINE: what else the log's decoder is told"),
    ("source.plugin.name", "", "warning: f: the log isn't decoded by"),
    ("source.slot.drop.on.stop", "true", "error: f:LINE: what changes while Debezium is away"),
    ("source.publication.autocreate.mode", "", "warning: f: Debezium makes a publication of all tables"),
    ("source.message.key.columns", "inventory.product:name", "hint: f:LINE: events have other keys"),
    ("format.value", "avro", "error: f:LINE: values aren't JSON"),
    ("format.value.replace.null.with.default", "", "error: f: a column's DEFAULT"),
    (
        "format.value.replace.null.with.default",
        "${NULLS}",
        "hint: f:LINE: debezium.format.value.replace.null.with.default comes from",
    ),
    ("format.value.schemas.enable", "", "hint: f: each entry carries its schema"),
    (
        "source.tombstones.on.delete",
        "",
        "warning: f: each delete is followed by an entry that, in one stream",
    ),
    ("source.decimal.handling.mode", "", "warning: f: exact numbers are base64"),
    ("source.decimal.handling.mode", "double", "warning: f:LINE: exact numbers lose digits"),
    ("source.provide.transaction.metadata", "", "warning: f: transactions don't say"),
    (
        "source.column.exclude.list",
        "inventory.product.note",
        "warning: f:LINE: debezium.source.column.exclude.list: hydrated",
    ),
    ("source.converters", "isbn", "warning: f:LINE: debezium.source.converters: hydrated"),
    ("source.unavailable.value.placeholder", "?", "error: f:LINE: a value that the database didn't log"),
    ("source.heartbeat.interval.ms", "", "error: f: there are no heartbeats"),
    (
        "source.heartbeat.interval.ms",
        "often",
        "error: f:LINE: debezium.source.heartbeat.interval.ms is no number",
    ),
    (
        "source.heartbeat.interval.ms",
        "6000",
        "warning: f:LINE: while nothing changes, heartbeats are 6000 ms apart",
    ),
    (
        "source.heartbeat.interval.ms",
        "10000",
        "error: f:LINE: while nothing changes, heartbeats are 10000 ms apart",
    ),
    ("source.heartbeat.action.query", "", "error: f: no heartbeat goes through the database's log"),
    ("source.heartbeat.action.query", "SELECT 1", "error: f:LINE: the heartbeat's query doesn't write"),
    (
        "source.heartbeat.action.query",
        "SELECT pg_logical_emit_message(false, 'freshet-hb', nextval('public.freshet_hb')::text)",
        "warning: f:LINE: heartbeats are no transactions",
    ),
    (
        "source.heartbeat.action.query",
        "SELECT pg_logical_emit_message(true, 'freshet-hb', now()::text)",
        "warning: f:LINE: heartbeats have no numbers",
    ),
    ("source.message.prefix.include.list", "app", "error: f:LINE: messages with the prefix freshet-hb"),
    ("source.message.prefix.exclude.list", "f.*", "error: f:LINE: messages with the prefix freshet-hb"),
    ("source.message.prefix.include.list", "(?=a)b", "warning: f:LINE: (?=a)b can't be judged"),
    ("source.binary.handling.mode", "hex", "error: f:LINE: messages are written in hexadecimal"),
    ("sink.redis.skip.heartbeat.messages", "", "warning: f: the sink skips Debezium's own heartbeats"),
    ("source.poll.interval.ms", "", "warning: f: a change waits up to 500 ms"),
    ("source.offset.storage", "", "error: f: nothing says where the position in the log is kept"),
    (
        "source.offset.storage",
        "org.apache.kafka.connect.storage.MemoryOffsetBackingStore",
        "error: f:LINE: the position in the log is gone with the process",
    ),
    (
        "source.offset.storage",
        "org.apache.kafka.connect.storage.FileOffsetBackingStore",
        "hint: f:LINE: the position in the log is in a file",
    ),
    ("source.offset.storage.redis.key", "", "hint: f: the default key is shared"),
    ("source.offset.flush.interval.ms", "", "hint: f: a restart repeats"),
    ("sink.redis.buffer.fill.rate", "", "hint: f: with a maxmemory"),
    (
        "source.connector.class",
        "io.debezium.connector.oracle.OracleConnector",
        "warning: f:LINE: what is particular to this connector",
    ),
];

/// The same of a MariaDB.
pub(super) const MARIADB: &[Fault] = &[
    ("source.driver.socketTimeout", "", "warning: f: a connection to the database that is half open"),
    ("source.database.server.id", "", "error: f: Debezium has no id"),
    ("source.include.schema.changes", "false", "warning: f:LINE: an altered or dropped table"),
    (
        "source.table.include.list",
        "inventory[.](product|category)",
        "error: f:LINE: inventory.freshet_heartbeat isn't captured",
    ),
    ("source.database.exclude.list", "inventory", "error: f:LINE: inventory.product isn't captured"),
    (
        "source.connect.keep.alive.interval.ms",
        "",
        "error: f: while nothing changes, heartbeats are 48000 ms apart",
    ),
    (
        "source.schema.history.internal",
        "io.debezium.relational.history.MemorySchemaHistory",
        "error: f:LINE: how tables looked",
    ),
    (
        "source.schema.history.internal.redis.key",
        "shop.cdc",
        "error: f:LINE: shop.cdc is a stream of the binding's",
    ),
    (
        "source.schema.history.internal.redis.key",
        "history",
        "hint: f:LINE: whoever trims streams has to leave history alone",
    ),
    ("source.heartbeat.action.query", "SELECT 1", "error: f:LINE: the heartbeat's query doesn't write"),
    (
        "source.heartbeat.action.query",
        "UPDATE inventory.freshet_heartbeat SET at_ms = 1",
        "warning: f:LINE: heartbeats aren't counted",
    ),
    (
        "source.inconsistent.schema.handling.mode",
        "skip",
        "error: f:LINE: a change that Debezium can't process is left out",
    ),
    (
        "source.event.deserialization.failure.handling.mode",
        "warn",
        "error: f:LINE: a change that Debezium can't process is left out",
    ),
    ("source.gtid.source.includes", "0-1", "warning: f:LINE: changes that other servers wrote"),
];

/// The same for a binding with a stream per table whose proof of freshness is Debezium's own heartbeat.
pub(super) const PER_TABLE: &[Fault] = &[
    (
        "source.topic.prefix",
        "erp",
        "error: f:LINE: changes of inventory.product go to erp.inventory.product, the binding looks for them in \
         shop.inventory.product: make",
    ),
    (
        "source.topic.delimiter",
        "_",
        "error: f:LINE: changes of inventory.product go to shop_inventory_product, the binding looks",
    ),
    (
        "source.topic.transaction",
        "tx",
        "warning: f:LINE: the beginnings and ends of transactions go to shop.tx, the binding looks",
    ),
    (
        "source.topic.heartbeat.prefix",
        "beats",
        "error: f:LINE: Debezium's heartbeats go to beats.shop, the binding looks for them in \
         __debezium-heartbeat.shop: leave debezium.source.topic.heartbeat.prefix out",
    ),
    (
        "source.event.converting.failure.handling.mode",
        "warn",
        "error: f:LINE: a value that Debezium can't convert becomes NULL in the event: a new row whose key",
    ),
    ("source.topic.heartbeat.name", "beats", "error: f:LINE: Debezium's heartbeats go to beats, the binding"),
    (
        "source.topic.naming.strategy",
        "io.debezium.schema.SchemaRegexTopicNamingStrategy",
        "error: f:LINE: io.debezium.schema.SchemaRegexTopicNamingStrategy may name topics otherwise",
    ),
    ("source.topic.naming.strategy", "com.example.Own", "warning: f:LINE: com.example.Own may name topics"),
    ("source.heartbeat.action.query", "", "warning: f: no heartbeat goes through the database's log"),
    ("source.message.prefix.include.list", "app", "warning: f:LINE: messages with the prefix freshet-hb"),
    ("sink.redis.skip.heartbeat.messages", "", "error: f: the sink skips Debezium's own heartbeats"),
    (
        "source.table.include.list",
        "",
        "hint: f: debezium.source.table.include.list isn't set: should a whole transaction be lost right before one of tables that the \
         binding doesn't read, nothing tells: send everything into one stream",
    ),
    (
        "source.table.include.list",
        "inventory[.]product,INVENTORY[.].*",
        "hint: f:LINE: INVENTORY[.].* isn't just one of the binding's tables: should a whole",
    ),
];

/// Of a Postgres, for a binding with a view over rows of `inventory.product`.
pub(super) const RANKED: &[Fault] = &[
    ("source.notification.enabled.channels", "", "error: f: nothing tells how many rows a snapshot had"),
    (
        "source.notification.enabled.channels",
        "log",
        "error: f:LINE: nothing tells how many rows a snapshot had",
    ),
    ("source.notification.sink.topic.name", "", "error: f: what is told of snapshots has no topic"),
    (
        "transforms.one.regex",
        "(?:shop[.](?:inventory|message|transaction)|__debezium).*",
        "error: f:TRANSFORMS: notifications of snapshots go to shop.notification",
    ),
    ("source.provide.transaction.metadata", "", "error: f: events don't say of which transaction they are"),
    ("source.signal.enabled.channels", "in-process", "hint: f:LINE: no snapshot can be asked for"),
    ("source.signal.data.collection", "", "hint: f: no snapshot can be asked for"),
    ("source.snapshot.mode", "no_data", "warning: f:LINE: Debezium takes no snapshot by itself"),
    ("source.snapshot.mode", "configuration_based", "warning: f:LINE: Debezium takes no snapshot by itself"),
    (
        "source.snapshot.include.collection.list",
        "inventory[.]category",
        "warning: f:LINE: the first snapshot is without inventory.product",
    ),
    (
        "source.snapshot.select.statement.overrides",
        "inventory.product",
        "error: f:LINE: snapshots of inventory.product have what a statement selects",
    ),
];

/// Of a MariaDB, for the same.
pub(super) const RANKED_MARIADB: &[Fault] = &[
    ("source.notification.enabled.channels", "", "error: f: nothing tells how many rows a snapshot had"),
    ("source.signal.data.collection", "", "hint: f: no snapshot can be asked for"),
    ("source.snapshot.mode", "recovery", "warning: f:LINE: Debezium takes no snapshot by itself"),
];

/// Of a Kafka with a topic per table.
pub(super) const KAFKA: &[Fault] = &[
    ("sink.type", "redis", "error: f:LINE: the sink isn't Kafka"),
    ("sink.kafka.producer.bootstrap.servers", "", "error: f: there are no brokers"),
    (
        "sink.kafka.producer.bootstrap.servers",
        "other,b:9092",
        "warning: f:LINE: Debezium writes to other,b:9092, sidecars read from a:9092,b:9093",
    ),
    ("sink.kafka.producer.security.protocol", "SSL", "warning: f:LINE: Debezium comes to other listeners"),
    ("sink.kafka.producer.key.serializer", "", "error: f: keys and values aren't written as the text"),
    (
        "sink.kafka.producer.value.serializer",
        "org.apache.kafka.common.serialization.ByteArraySerializer",
        "error: f:LINE: keys and values aren't written as the text",
    ),
    ("sink.kafka.producer.acks", "1", "error: f:LINE: what one broker has is taken for written"),
    (
        "sink.kafka.producer.enable.idempotence",
        "false",
        "error: f:LINE: what is sent again may be written behind",
    ),
    (
        "sink.kafka.producer.max.in.flight.requests.per.connection",
        "6",
        "error: f:LINE: more than 5 batches under way",
    ),
    ("sink.kafka.producer.retries", "0", "warning: f:LINE: whatever a broker refuses"),
    (
        "sink.kafka.producer.partitioner.class",
        "com.example.Own",
        "warning: f:LINE: which partition a record is in",
    ),
    (
        "sink.kafka.producer.partitioner.ignore.keys",
        "true",
        "error: f:LINE: changes of one row go to different",
    ),
    (
        "source.topic.prefix",
        "erp",
        "error: f:LINE: changes of inventory.product go to erp.inventory.product, the binding looks",
    ),
    (
        "source.offset.storage",
        "",
        "error: f: nothing says where the position in the log is kept: set debezium.source.offset.storage=org.apache.kafka",
    ),
    (
        "source.offset.storage",
        "org.apache.kafka.connect.storage.MemoryOffsetBackingStore",
        "error: f:LINE: the position in the log is gone",
    ),
];

/// Of a stream of NATS, which a sink makes that is told so.
pub(super) const JET_STREAM: &[Fault] = &[
    ("sink.type", "nats-streaming", "error: f:LINE: the sink isn't NATS JetStream"),
    ("sink.nats-jetstream.url", "", "error: f: there is no URL of NATS"),
    (
        "sink.nats-jetstream.url",
        "nats://shop:hush@b",
        "warning: f:LINE: Debezium writes to b, sidecars read from nats://a:4222",
    ),
    ("sink.nats-jetstream.stream-name", "", "error: f: Debezium writes into another stream"),
    ("sink.nats-jetstream.create-stream", "true", "error: f: Debezium makes the stream in memory"),
    ("sink.nats-jetstream.create-stream", "true", "hint: f:LINE: Debezium makes the stream on one server"),
    (
        "sink.nats-jetstream.create-stream",
        "true",
        "error: f: Debezium's heartbeats go to __debezium-heartbeat.shop, which the stream that Debezium makes",
    ),
    ("sink.nats-jetstream.async.enabled", "false", "hint: f:LINE: each message waits"),
    (
        "source.topic.heartbeat.prefix",
        "beats",
        "error: f:LINE: Debezium's heartbeats have the subject beats.shop: without a key",
    ),
];
