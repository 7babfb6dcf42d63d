//! The same story over every transport that keeps its records: each on its real server, behind a proxy that does to
//! connections what a network does, or in a file.

pub(crate) mod broker;
mod file;
pub(crate) mod jet_stream;
pub(crate) mod kafka;
pub(crate) mod nats;
pub(crate) mod postgres_notify;
mod publications;
pub(crate) mod redis_pub_sub;
pub(crate) mod redis_stream;
mod report;
mod rights;
mod said;
mod told;
mod two_sources;

use std::time::Duration;

use anyhow::ensure;
use freshet_e2e::process::Sidecar;

use crate::shop::{App, executable, manifest_over};
use broker::{Broker, Server, Source, value};

const CACHES: &str = "
  - {name: products, table: inventory.product, key: [{column: id}]}
  - {name: rows, table: inventory.product, key: [{column: id}], onChange: Hydrate}
  - {name: stock, table: inventory.stock, key: [{column: id}]}";

#[test]
fn over_redis_streams() {
    Story::<redis_stream::RedisStream>::open().tell_of_a_server();
}

#[test]
fn over_topics_of_kafka() {
    Story::<kafka::TopicPerTable>::open().tell_of_a_server();
}

#[test]
fn over_one_topic_of_kafka() {
    Story::<kafka::OneTopic>::open().tell_of_a_server();
}

#[test]
fn over_jet_stream() {
    Story::<jet_stream::JetStream>::open().tell_of_a_server();
}

#[test]
fn over_a_file() {
    Story::<file::File>::open().tell_of_a_file();
}

/// A sidecar that follows a broker.
fn follow(broker: &impl Source) -> App {
    let text = manifest_over(&broker.source(), CACHES, "");
    App { sidecar: Sidecar::builder(executable(), &text).start().unwrap() }
}

/// How long a burst may take to be read on a busy machine.
const CAUGHT_UP: Duration = Duration::from_mins(2);

/// What became of the values where nobody knows what happened to each.
const ALL_VOID: &str = "all is void";

/// A name, and what happens: whatever it is, it says in two words what became of the values.
type Chapter<B> = (&'static str, fn(&mut Story<B>) -> &'static str);

struct Story<B> {
    broker: B,
    app: App,
    /// The last number that was given to anything.
    number: u64,
}

impl<B: Broker> Story<B> {
    fn open() -> Self {
        let broker = B::open();
        // What happened before tells the sidecar that the tables are captured and how their keys look.
        for table in ["product", "stock"] {
            broker.write(table, "{\"id\":1}", Some(&value(table, "u", None, Some("{\"id\":1}"))));
        }
        let mut app = follow(&broker);
        app.until_fresh();
        app.until_fills_last();
        Self { broker, app, number: 1 }
    }

    /// Tells what there is to tell of every broker, and these chapters.
    fn tell(mut self, chapters: impl IntoIterator<Item = Chapter<B>>) {
        let begin: [Chapter<B>; 5] = [
            ("hydrate", Self::hydrate),
            ("invalidate", Self::invalidate),
            ("delete", Self::delete),
            ("truncate", Self::truncate),
            ("replay", Self::replay),
        ];
        let end: [Chapter<B>; 2] =
            [("burst", Self::burst), ("a stream, topic or file that is made anew", Self::made_anew)];
        let mut told = Vec::new();
        for (name, chapter) in begin.into_iter().chain(chapters).chain(end) {
            println!("{name}");
            told.push((name, chapter(&mut self)));
            self.app.until_fresh();
        }
        report::hold("changes", B::NAME, &told);
    }

    /// A row that no chapter has had so far.
    fn next(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Writes a change of a product.
    fn change(&self, id: u64, op: &str) {
        let row = format!("{{\"id\":{id}}}");
        let (before, after) = if op == "d" { (Some(&*row), None) } else { (None, Some(&*row)) };
        self.broker.write("product", &row, Some(&value("product", op, before, after)));
    }

    /// Fills rows of two tables, one of which nothing happens to.
    fn filled(&mut self) -> (u64, String, String) {
        let id = self.next();
        let (product, stock) = (format!("/v1/products/{id}"), format!("/v1/stock/{id}"));
        self.app.until_fills_last();
        self.app.fill(&product, "x");
        self.app.fill(&stock, "y");
        assert_eq!(self.app.get(&product), "hit x");
        (id, product, stock)
    }

    fn hydrate(&mut self) -> &'static str {
        let id = self.next();
        let row = format!("/v1/rows/{id}");
        self.change(id, "c");
        self.app.until_get(&row, &format!("hit {{\"id\":{id}}}"));
        "the row is served"
    }

    fn invalidate(&mut self) -> &'static str {
        let (id, product, stock) = self.filled();
        self.change(id, "u");
        self.app.until_get(&product, "miss");
        assert_eq!(self.app.get(&stock), "hit y", "another table's");
        "its row is void"
    }

    fn delete(&mut self) -> &'static str {
        let (id, product, stock) = self.filled();
        let row = format!("/v1/rows/{id}");
        self.change(id, "c");
        self.app.until_get(&row, &format!("hit {{\"id\":{id}}}"));
        self.change(id, "d");
        self.app.until_get(&row, "miss");
        assert_eq!((self.app.get(&product), self.app.get(&stock)), ("miss".into(), "hit y".into()));
        "its row is void"
    }

    fn truncate(&mut self) -> &'static str {
        let (_, product, stock) = self.filled();
        self.broker.write("product", "default", Some(&value("product", "t", None, None)));
        self.app.until_get(&product, "miss");
        assert_eq!(self.app.get(&stock), "hit y");
        "the table is void"
    }

    /// What is written once more takes nothing back.
    fn replay(&mut self) -> &'static str {
        let id = self.next();
        let epoch = self.app.epoch();
        let (key, row) = (format!("{{\"id\":{id}}}"), format!("/v1/rows/{id}"));
        let images = ["old", "new"]
            .map(|n| value("product", "u", None, Some(&format!("{{\"id\":{id},\"name\":\"{n}\"}}"))));
        let entries = self.app.entries().unwrap();
        for image in images.iter().chain(&images) {
            self.broker.write("product", &key, Some(image));
        }
        self.app.until_applied(entries + 4);
        self.app.until_get(&row, &format!("hit {{\"id\":{id},\"name\":\"new\"}}"));
        assert_eq!(self.app.epoch(), epoch);
        "nothing is taken back"
    }

    /// Whatever `happens`, in the end everything written is known and nothing else is void.
    fn nothing_is_lost(&mut self, happens: impl FnOnce(&mut Self, u64)) -> &'static str {
        let epoch = self.app.epoch();
        let (id, product, stock) = self.filled();
        happens(self, id);
        self.app.until_get(&product, "miss");
        self.app.until_fresh();
        assert_eq!(self.app.get(&stock), "hit y", "nothing happened to it");
        assert_eq!(self.app.epoch(), epoch, "{:?}", self.app.breaks());
        "its row is void, once it is heard of"
    }

    /// A sidecar that stood still while much was written reads it all.
    fn burst(&mut self) -> &'static str {
        self.nothing_is_lost(|story, id| {
            let before = story.app.entries().unwrap();
            story.app.sidecar.process().pause().unwrap();
            let other = value("product", "u", None, Some("{\"id\":0}"));
            story.broker.write_many("product", "{\"id\":0}", &other, 100_000);
            story.change(id, "u");
            story.app.sidecar.process().resume().unwrap();
            story
                .app
                .sidecar
                .until("all is read", CAUGHT_UP, |sidecar| {
                    let status = sidecar.status()?;
                    let source = &status["sources"]["cdc"];
                    // Of a file nobody knows how much there is to come.
                    let is_read = source["entries"].as_u64() > Some(before + 100_000);
                    ensure!(is_read && source["pending"] == 0 && source["state"] == "Fresh", "{source}");
                    Ok(())
                })
                .unwrap();
        })
    }

    /// Whatever `happens`, it is noticed, and nothing that was there before is believed.
    fn all_is_void(&mut self, happens: impl FnOnce(&mut Self, u64)) -> &'static str {
        let epoch = self.app.epoch();
        let (id, product, stock) = self.filled();
        happens(self, id);
        self.app.until_fresh_after(epoch);
        assert_eq!((self.app.get(&product), self.app.get(&stock)), ("miss".into(), "miss".into()));
        ALL_VOID
    }

    /// The same, for this reason.
    fn is_lost(&mut self, why: &str, happens: impl FnOnce(&mut Self, u64)) -> &'static str {
        let became = self.all_is_void(happens);
        assert!(self.app.breaks().contains(&why.to_owned()), "{:?}", self.app.breaks());
        became
    }

    fn made_anew(&mut self) -> &'static str {
        let became = self.all_is_void(|story, id| {
            story.broker.make_anew();
            story.change(id, "u");
        });
        // And it goes on.
        let (id, product, _) = self.filled();
        self.change(id, "u");
        self.app.until_get(&product, "miss");
        became
    }
}

impl<B: Broker + Server> Story<B> {
    fn tell_of_a_server(self) {
        let chapters: [Chapter<B>; 6] = [
            ("restart", Self::restart),
            ("kill", Self::kill),
            ("partition", Self::partition),
            ("a connection that is half open", Self::half_open),
            ("a server that stands still", Self::standstill),
            ("lost records", Self::loss),
        ];
        self.tell(chapters);
    }

    fn restart(&mut self) -> &'static str {
        self.over_a_restart(|story| story.broker.restart())
    }

    fn kill(&mut self) -> &'static str {
        self.over_a_restart(|story| story.broker.kill_and_restart())
    }

    fn over_a_restart(&mut self, restart: impl FnOnce(&mut Self)) -> &'static str {
        if B::KEEPS_ITS_PLACE_OVER_RESTARTS {
            return self.nothing_is_lost(|story, id| {
                restart(story);
                story.change(id, "u");
            });
        }
        self.all_is_void(|story, _| restart(story))
    }

    fn partition(&mut self) -> &'static str {
        self.nothing_is_lost(|story, id| {
            story.broker.proxy().refuse();
            story.app.until_get(&format!("/v1/products/{id}"), "stale disconnected");
            story.change(id, "u");
            story.broker.proxy().pass();
        })
    }

    fn half_open(&mut self) -> &'static str {
        self.nothing_is_lost(|story, id| {
            story.broker.proxy().abandon();
            story.change(id, "u");
        })
    }

    fn standstill(&mut self) -> &'static str {
        self.nothing_is_lost(|story, id| {
            story.broker.pause();
            story.app.until_get(&format!("/v1/products/{id}"), "stale disconnected");
            story.broker.resume();
            story.change(id, "u");
        })
    }

    fn loss(&mut self) -> &'static str {
        self.is_lost("entries-missed", |story, id| {
            story.broker.proxy().refuse();
            story.change(id, "u");
            story.broker.remove_all();
            story.broker.proxy().pass();
        })
    }
}

impl Story<file::File> {
    fn tell_of_a_file(self) {
        let chapters: [Chapter<file::File>; 1] = [("lost records", Self::cut)];
        self.tell(chapters);
    }

    /// It says nothing of what was in it: that it is shorter than before is what shows the loss.
    fn cut(&mut self) -> &'static str {
        self.is_lost("id-went-back", |story, id| {
            story.change(id, "u");
            story.broker.remove_all();
        })
    }
}

/// Follows this source until status says in such words why it can't.
fn until_told(source: &str, words: &str) {
    let text = manifest_over(source, "\n  - {name: quotes, published: true}", "");
    let mut sidecar = Sidecar::builder(executable(), &text).start().unwrap();
    sidecar
        .until("status says why", crate::shop::SOON, |sidecar| {
            let error = &sidecar.status()?["sources"]["cdc"]["reason"];
            ensure!(error.as_str().is_some_and(|error| error.contains(words)), "{error}");
            Ok(())
        })
        .unwrap();
}
