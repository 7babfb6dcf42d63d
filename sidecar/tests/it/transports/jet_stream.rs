//! A stream of NATS JetStream, in files.

use freshet_e2e::process::{Nats, Proxy};
use serde_json::Value;

use super::{
    Story,
    broker::{Broker, Bus, Server, Source, value},
};

const STREAM: &str = "shop";

pub(crate) struct JetStream {
    nats: Nats,
    proxy: Proxy,
}

impl Source for JetStream {
    const NAME: &'static str = "natsJetStream";

    fn open() -> Self {
        let nats = Nats::builder().jetstream().start().unwrap();
        nats.create_stream(STREAM, &["shop.>"]).unwrap();
        let proxy = Proxy::start(nats.address()).unwrap();
        Self { nats, proxy }
    }

    fn source(&self) -> String {
        format!(
            "natsJetStream: {{url: 'nats://{}', stream: {STREAM}, publishSubject: shop.bus}}",
            self.proxy.address()
        )
    }
}

impl Server for JetStream {
    const KEEPS_ITS_PLACE_OVER_RESTARTS: bool = true;

    fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    fn restart(&mut self) {
        self.nats.restart().unwrap();
    }

    fn kill_and_restart(&mut self) {
        self.nats.kill().unwrap();
        self.nats.restart().unwrap();
    }

    fn pause(&mut self) {
        self.nats.pause().unwrap();
    }

    fn resume(&mut self) {
        self.nats.resume().unwrap();
    }
}

impl Broker for JetStream {
    fn write(&self, table: &str, _key: &str, value: Option<&str>) {
        // The sink leaves out what has no value.
        if let Some(value) = value {
            self.nats.store(&format!("shop.inventory.{table}"), &[], value.as_bytes()).unwrap();
        }
    }

    fn write_many(&self, table: &str, _key: &str, value: &str, count: usize) {
        self.nats.store_many(&format!("shop.inventory.{table}"), value.as_bytes(), count).unwrap();
    }

    fn remove_all(&self) {
        self.nats.purge(STREAM).unwrap();
    }

    fn make_anew(&self) {
        self.nats.delete_stream(STREAM).unwrap();
        self.nats.create_stream(STREAM, &["shop.>"]).unwrap();
    }
}

impl Bus for JetStream {
    const KEEPS: bool = true;

    fn publish(&self, envelope: &Value) {
        self.nats.store("shop.bus", &[], envelope.to_string().as_bytes()).unwrap();
    }

    fn publish_many(&self, envelope: &Value, count: usize) {
        self.nats.store_many("shop.bus", envelope.to_string().as_bytes(), count).unwrap();
    }
}

impl JetStream {
    /// What was published.
    pub(crate) fn envelopes(&self) -> Vec<Value> {
        let messages = self.nats.messages(STREAM).unwrap().into_iter().filter(|it| it.subject == "shop.bus");
        messages.map(|message| serde_json::from_slice(&message.payload).unwrap()).collect()
    }
}

#[test]
fn messages_that_the_server_forgot_are_noticed_though_others_have_their_sequences() {
    let mut story = Story::<JetStream>::open();
    let epoch = story.app.epoch();
    let (id, product, stock) = story.filled();
    let Story { broker: JetStream { nats, proxy }, app, .. } = &mut story;
    let write = |nats: &Nats, id: u64| {
        let value = value("product", "u", None, Some(&format!("{{\"id\":{id}}}")));
        nats.store("shop.inventory.product", &[], value.as_bytes())
    };
    let mut read = 0;
    nats.restart_without(|nats| {
        let entries = app.entries()?;
        read = write(nats, id + 1000)?;
        app.until_applied(entries + 1);
        proxy.refuse();
        Ok(())
    })
    .unwrap();
    assert_eq!(app.breaks(), [""; 0]);
    assert_eq!(write(nats, id).unwrap(), read, "another one has its place");
    write(nats, id + 1001).unwrap();
    proxy.pass();
    app.until_fresh_after(epoch);
    assert_eq!(app.breaks(), ["id-went-back"]);
    assert_eq!((app.get(&product), app.get(&stock)), ("miss".into(), "miss".into()));
}

#[test]
fn a_message_that_is_deleted_before_it_is_read_is_missed() {
    let mut story = Story::<JetStream>::open();
    let epoch = story.app.epoch();
    let (id, product, _) = story.filled();
    story.broker.proxy.refuse();
    story.change(id, "u");
    let last = story.broker.nats.stream(STREAM).unwrap().state.last_sequence;
    story.broker.nats.delete_message(STREAM, last).unwrap();
    story.broker.proxy.pass();
    story.app.until_fresh_after(epoch);
    assert_eq!(story.app.breaks(), ["entries-missed"]);
    assert_eq!(story.app.get(&product), "miss");
}

#[test]
fn a_stream_that_comes_later_is_read_from_its_first_message_on() {
    let nats = Nats::builder().jetstream().start().unwrap();
    let proxy = Proxy::start(nats.address()).unwrap();
    let broker = JetStream { nats, proxy };
    let mut app = super::follow(&broker);
    app.until_fresh();
    app.until_fills_last();
    app.fill("/v1/products/7", "x");
    broker.nats.create_stream(STREAM, &["shop.>"]).unwrap();
    let value = value("product", "u", None, Some("{\"id\":7}"));
    broker.write("product", "", Some(&value));
    app.until_applied(1);
    app.until_fills_last();
    app.fill("/v1/products/8", "y");
    broker.write("product", "", Some(&value.replace(":7", ":8")));
    app.until_get("/v1/products/8", "miss");
    assert_eq!(app.breaks(), [""; 0]);
}
