//! A database's log as Debezium writes it into one stream, made by hand where a fault can't be made otherwise.

use freshet_e2e::process::{Redis, Sidecar};

use crate::shop::{Shop, executable, manifest};

/// What freshness is where neither a fill right after a change nor a busy machine is what a test is about.
pub(crate) const STEADY: &str = "  freshness: {maxStaleness: 1m, readLag: 0s}";

/// The stream.
pub(crate) const STREAM: &str = "shop.cdc";

/// A PostgreSQL whose log is written into [`STREAM`], transaction by transaction.
pub(crate) struct Log {
    pub(crate) shop: Shop,
    xid: u32,
    lsn: u64,
    /// The newest commit.
    commit: u64,
    beat: u64,
}

impl Log {
    /// A shop whose source is one stream; `more` is further YAML of the spec.
    pub(crate) fn open(caches: &str, more: &str) -> Self {
        let redis = Redis::start().unwrap();
        let text = manifest(&redis, caches, more).replacen("topicPrefix: shop", "stream: shop.cdc", 1);
        let shop = Shop::of(redis, Sidecar::builder(executable(), &text).start().unwrap());
        let mut log = Self { shop, xid: 700, lsn: 0x100_0000, commit: 0x100_0000, beat: 0 };
        log.shop
            .sidecar
            .until("the stream is followed", crate::shop::SOON, |sidecar| {
                let status = sidecar.status()?;
                anyhow::ensure!(
                    !status["sources"]["cdc"]["position"].as_object().unwrap().is_empty(),
                    "{status}"
                );
                Ok(())
            })
            .unwrap();
        // Some history, so that numbers are known.
        log.write("product", 1);
        log.heartbeat();
        log.shop.until_fresh();
        log.read_up();
        log
    }

    fn add(&self, key: &str, value: &str) {
        self.shop.redis.xadd(STREAM, &[(key, value)]).unwrap();
    }

    fn next(&mut self) -> u64 {
        self.lsn += 8;
        self.lsn
    }

    /// The entries of a transaction that updates these rows of a table, and the position of its commit.
    pub(crate) fn transaction(&mut self, table: &str, ids: &[u32]) -> (Vec<(String, String)>, String) {
        self.xid += 1;
        let (xid, preceding, begun) = (self.xid, self.commit, self.next());
        let mut entries = vec![(
            format!("{{\"id\":\"{xid}:{begun}\"}}"),
            format!(
                "{{\"status\":\"BEGIN\",\"id\":\"{xid}:{begun}\",\"event_count\":null,\"data_collections\":null,\"ts_ms\":1}}"
            ),
        )];
        for (i, id) in ids.iter().enumerate() {
            let lsn = self.next();
            entries.push((
                format!("{{\"id\":{id}}}"),
                format!(
                    "{{\"before\":null,\"after\":{{\"id\":{id}}},\"source\":{{\"connector\":\"postgresql\",\"db\":\"postgres\",\
                     \"sequence\":\"[\\\"{preceding}\\\",\\\"{lsn}\\\"]\",\"schema\":\"inventory\",\"table\":\"{table}\",\"snapshot\":null,\
                     \"txId\":{xid},\"lsn\":{lsn},\"ts_ms\":1}},\"transaction\":{{\"id\":\"{xid}:{lsn}\",\"total_order\":{n},\
                     \"data_collection_order\":{n}}},\"op\":\"u\",\"ts_ms\":1}}",
                    n = i + 1
                ),
            ));
        }
        let (end, count) = (self.next(), ids.len());
        self.commit = end;
        entries.push((
            format!("{{\"id\":\"{xid}:{end}\"}}"),
            format!(
                "{{\"status\":\"END\",\"id\":\"{xid}:{end}\",\"event_count\":{count},\"data_collections\":[{{\
                 \"data_collection\":\"inventory.{table}\",\"event_count\":{count}}}],\"ts_ms\":1}}"
            ),
        ));
        (entries, format!("cdc=\"lsn:{:X}/{:X}\"", end >> 32, end & 0xFFFF_FFFF))
    }

    /// Adds entries to the stream.
    pub(crate) fn send(&self, entries: &[(String, String)]) {
        for (key, value) in entries {
            self.add(key, value);
        }
    }

    /// Updates a row, and returns the position of the commit.
    pub(crate) fn write(&mut self, table: &str, id: u32) -> String {
        let (entries, position) = self.transaction(table, &[id]);
        self.send(&entries);
        position
    }

    /// The transaction of the newest [`Log::write`].
    pub(crate) fn xid(&self) -> u32 {
        self.xid
    }

    /// A heartbeat's entry, a message in a transaction that ends.
    pub(crate) fn heartbeat_entries(&mut self) -> Vec<(String, String)> {
        use base64::Engine as _;
        self.beat += 1;
        self.xid += 1;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        let content = base64::prelude::BASE64_STANDARD.encode(format!("{}:{now}", self.beat));
        let (xid, preceding, lsn, end) = (self.xid, self.commit, self.next(), self.next());
        self.commit = end;
        vec![
            (
                "{\"prefix\":\"freshet-hb\"}".to_owned(),
                format!(
                    "{{\"op\":\"m\",\"ts_ms\":{now},\"source\":{{\"schema\":\"\",\"table\":\"\",\"txId\":{xid},\"lsn\":{lsn},\
                     \"sequence\":\"[\\\"{preceding}\\\",\\\"{lsn}\\\"]\"}},\"transaction\":{{\"id\":\"{xid}:{lsn}\",\
                     \"total_order\":1,\"data_collection_order\":1}},\
                     \"message\":{{\"prefix\":\"freshet-hb\",\"content\":\"{content}\"}}}}"
                ),
            ),
            (
                format!("{{\"id\":\"{xid}:{end}\"}}"),
                format!(
                    "{{\"status\":\"END\",\"id\":\"{xid}:{end}\",\"event_count\":1,\"data_collections\":[{{\"data_collection\":\"m\",\"event_count\":1}}],\"ts_ms\":1}}"
                ),
            ),
        ]
    }

    /// Sends a heartbeat.
    pub(crate) fn heartbeat(&mut self) {
        let entries = self.heartbeat_entries();
        self.send(&entries);
    }

    /// Waits until everything sent has been applied.
    pub(crate) fn read_up(&mut self) {
        let wanted = format!("lsn:{:X}/{:X}", self.commit >> 32, self.commit & 0xFFFF_FFFF);
        self.shop
            .sidecar
            .until(&format!("the watermark is {wanted}"), crate::shop::SOON, |sidecar| {
                let status = sidecar.status()?;
                anyhow::ensure!(
                    status["sources"]["cdc"]["watermark"] == format!("cdc=\"{wanted}\""),
                    "{status}"
                );
                Ok(())
            })
            .unwrap();
    }
}
