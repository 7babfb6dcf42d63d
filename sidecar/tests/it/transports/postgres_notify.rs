//! A channel of PostgreSQL's `NOTIFY`.

use freshet_e2e::process::{Postgres, Proxy};
use serde_json::Value;

use super::broker::{Bus, Server, Source};

const CHANNEL: &str = "shop bus";

pub(crate) struct PostgresNotify {
    postgres: Postgres,
    proxy: Proxy,
}

impl Source for PostgresNotify {
    const NAME: &'static str = "postgresNotify";

    fn open() -> Self {
        let postgres = Postgres::start().unwrap();
        postgres.execute("CREATE ROLE freshet LOGIN").unwrap();
        let proxy = Proxy::start(([127, 0, 0, 1], postgres.port()).into()).unwrap();
        Self { postgres, proxy }
    }

    fn source(&self) -> String {
        let address = self.proxy.address();
        format!("postgresNotify: {{url: 'postgres://{address}/postgres', channel: '{CHANNEL}'}}")
    }
}

impl Server for PostgresNotify {
    const KEEPS_ITS_PLACE_OVER_RESTARTS: bool = false;

    fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    fn restart(&mut self) {
        self.postgres.restart().unwrap();
    }

    fn kill_and_restart(&mut self) {
        self.postgres.kill_all().unwrap();
        self.postgres.restart().unwrap();
    }

    fn pause(&mut self) {
        self.postgres.pause().unwrap();
    }

    fn resume(&mut self) {
        self.postgres.resume().unwrap();
    }
}

impl Bus for PostgresNotify {
    const KEEPS: bool = false;
    /// A payload has less than 8000 bytes.
    const MOST: usize = 7 << 10;

    fn publish(&self, envelope: &Value) {
        self.publish_many(envelope, 1);
    }

    fn publish_many(&self, envelope: &Value, count: usize) {
        self.postgres.notify_many(CHANNEL, &envelope.to_string(), count).unwrap();
    }
}
