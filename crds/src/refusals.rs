//! The sentences with which a binding is refused both by the CRD's rules and by the parser: one text for one fault.

pub(crate) const BINDING_NAMED_AS_ANSWER: &str =
    "a binding isn't named true or false: in a pod's annotation these don't mean a binding of that name";
pub(crate) const ONE_KIND: &str = "a source has exactly one kind: set one of redisStream, redisPubSub, natsJetStream, nats, kafka and postgresNotify";
pub(crate) const SOURCE_NAME_FORM: &str =
    "a source's name has lower-case letters, digits and dashes, and begins and ends with a letter or digit";
pub(crate) const FILE_PATH: &str = "a file has a path; `-` is standard input";
pub(crate) const ONE_URL: &str = "a redisStream has exactly one of url and urlFrom";
pub(crate) const ONE_LAYOUT: &str =
    "a redisStream has exactly one of topicPrefix (one stream per table) and stream (all in one)";
pub(crate) const URL_CARRIES: &str =
    "url must not carry credentials: put the whole URL into a Secret and name it in urlFrom";
pub(crate) const TOPIC_PREFIX_FORM: &str =
    "topicPrefix has letters, digits, dots, dashes and underscores, as Debezium's topic.prefix";
pub(crate) const ONE_NATS_URL: &str = "a natsJetStream has exactly one of url and urlFrom";
pub(crate) const ONE_CORE_NATS_URL: &str = "a nats has exactly one of url and urlFrom";
pub(crate) const ONE_PUB_SUB_URL: &str = "a redisPubSub has exactly one of url and urlFrom";
pub(crate) const CHANNEL_FORM: &str = "channel has 1 to 512 characters";
pub(crate) const SUBJECT_FORM: &str = "subject is what NATS subscribes to: parts with dots between them, none of them empty, without blanks; * stands for one part and >, behind others, for the rest";
pub(crate) const JET_STREAM_FORM: &str =
    "stream is a name as JetStream takes it: without blanks, control characters, and any of . * > / and \\";
pub(crate) const NATS_NEEDS_KEY: &str = "with natsJetStream and nats a cache of rows needs a key: Debezium's sink sends none with its events, so name all columns of the table's primary key";
pub(crate) const PUBLISH_SUBJECT_FORM: &str = "publishSubject is one subject that the stream captures: names with dots in between, without blanks, control characters, * and >";
pub(crate) const ONE_KAFKA_LAYOUT: &str =
    "a kafka has exactly one of topicPrefix (one topic per table) and topic (all in one)";
pub(crate) const TOPIC_FORM: &str =
    "topic has letters, digits, dots, dashes and underscores, and isn't one or two dots";
pub(crate) const BROKER_FORM: &str =
    "a broker is host[:port], without a scheme: its port is a number from 1 to 65535, and 9092 unless given";
pub(crate) const ONE_POSTGRES_URL: &str = "a postgresNotify has exactly one of url and urlFrom";
pub(crate) const NOTIFY_CHANNEL_FORM: &str =
    "channel is a name of at most 63 bytes without control characters";
pub(crate) const SERVE_NEEDS_BOUND: &str =
    "serveStaleFor goes with onStale: Serve, and onStale: Serve needs it";
pub(crate) const CACHE_NAME_FORM: &str =
    "a cache's name has lower-case letters, digits and dashes, and begins and ends with a letter or digit";
pub(crate) const CACHE_NAME_TAKEN: &str =
    "status, views and events are taken by the API: choose another name";
pub(crate) const WHICH_SOURCE: &str = "with several sources, every cache names its source";
pub(crate) const NO_SOURCES: &str = "caches of tables need a source whose changes concern them: only a binding whose caches all have an upstream has none";
pub(crate) const NO_TABLES: &str =
    "a cache has a table, or tables it dependsOn or mayDependOn, or an upstream, or is published";
pub(crate) const PUBLISHED_ALONE: &str = "a cache that is published holds what applications publish: table, key, onChange, dependsOn, mayDependOn, fillDependencies and upstream don't go with it";
pub(crate) const UPSTREAM_ALONE: &str = "a cache with an upstream holds what that answers: source, table, key, onChange, dependsOn, mayDependOn and fillDependencies don't go with it";
pub(crate) const MAX_BYTES_FIT: &str = "an upstream's maxBytes can't exceed memory, nor the cache's share of it, nor what the shares leave for the others";
pub(crate) const TABLE_FORM: &str = "a table is written schema.table (Postgres) or database.table (MariaDB)";
pub(crate) const KEY_NEEDS_TABLE: &str =
    "key names columns of the cache's table: a cache without a table has no key";
pub(crate) const HYDRATE_NEEDS_TABLE: &str = "onChange: Hydrate needs a table, whose rows become the values";
pub(crate) const HYDRATED_IS_ONE_ROW: &str = "a hydrated value is one row: it can't depend on other tables";
pub(crate) const COLUMNS_OF_HYDRATED: &str =
    "columns and lookups go with onChange: Hydrate: values that applications fill are theirs to shape";
pub(crate) const WARM_IS_HYDRATED: &str = "warmStart goes with onChange: Hydrate: the stream tells of rows, and of nothing that applications compute";
pub(crate) const WARM_NEEDS_HEARTBEAT: &str = "warmStart needs freshness with heartbeat: Database: without its numbers nobody notices what was lost before the start";
pub(crate) const WARM_NEEDS_STREAM: &str =
    "warmStart needs one stream or topic for all tables (not topicPrefix): only one has the exact order";
pub(crate) const WARM_NEEDS_RECORDS: &str = "warmStart needs a source that keeps what was sent: redisPubSub, nats and postgresNotify send everything only once";
pub(crate) const HYDRATE_NEEDS_IMAGES: &str = "onChange: Hydrate needs a source that brings whole rows: by redisPubSub and postgresNotify comes only which rows have changed";
pub(crate) const BOUND_NEEDS_HEARTBEATS: &str = "freshness needs heartbeats, and by redisPubSub none come: of tables nothing would ever be vouched for; leave freshness out, or take a source that Debezium or the database itself feeds";
pub(crate) const PUBLISHED_NEEDS_STREAM: &str = "a cache that is published needs one stream or topic (not topicPrefix): what applications publish is of no table";
pub(crate) const DEADLINE_IS_OF_SYNCED: &str =
    "startDeadline goes with startGate: Synced: nothing else is waited for";
pub(crate) const LOOKUPS_NEED_KEY: &str =
    "lookups need the cache's key: a row that is filled by another column has to say which row it is";
pub(crate) const VIEW_NAME_FORM: &str =
    "a view's name has lower-case letters, digits and dashes, and begins and ends with a letter or digit";
pub(crate) const VIEW_NEEDS_ALL: &str = "a view is over a cache of the same binding that has an upstream, or onChange: Hydrate with warmStart: true: of other caches not all values need be there";
pub(crate) const VIEW_KEYS_OF_UPSTREAM: &str = "over a cache with an upstream, a view names 1 to 64 keys, whose answers have its items; over a cache of rows it names none, since all rows of the table are its items";
pub(crate) const VIEW_KEY_RESERVED: &str = "keys that begin with _ are taken by the API, and nobody could ask for this answer: write %5F for the first _";
pub(crate) const VIEW_OF_COLUMNS: &str = "a view without keys has rows of a table, and each is an object: orderBy, and each pointer of a filter, begins with a column, such as /price";
pub(crate) const VIEW_KEY_ALLOWED: &str =
    "the upstream's allow doesn't have this path: add a pattern for it, or leave the key out";
pub(crate) const CONDITION_SAYS_NOTHING: &str =
    "a condition has at least one of exists, equals, notEquals, atLeast and atMost";
pub(crate) const CASE_IS_OF_TEXT: &str = "collation: CaseInsensitive goes with type: Text";
