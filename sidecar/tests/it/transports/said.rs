//! What is said over a bus, whatever it says: the same story, with what each transport promises.

use std::marker::PhantomData;

use anyhow::ensure;
use serde_json::{Value, json};

use super::{
    ALL_VOID, CAUGHT_UP,
    broker::{Bus, Server},
    report,
};
use crate::shop::{App, outcome};

/// How much is said to a sidecar that stands still: more than any server or sidecar holds for one connection.
const TOO_MUCH: usize = 160 << 20;

/// A kind of envelope, and what becomes of what it is about.
pub(super) trait Said: Sized {
    /// What its table is called.
    const STORY: &'static str;
    const CACHES: &'static str;
    /// What became of what it was about, though something happened meanwhile.
    const HEARD: &'static str;
    /// What became of the last of very many.
    const LAST: &'static str;
    /// The same where it may have been lost.
    const LAST_OR_VOID: &'static str;

    /// The chapters that no other kind has.
    fn chapters<B: Bus>() -> Vec<Chapter<B, Self>>;

    /// What has to be known of it before anything happens.
    fn begin<B: Bus>(_story: &mut Story<B, Self>) {}

    /// Where a read finds what chapters are about; nothing is said of the second.
    fn paths(number: u64) -> [String; 2];

    /// Has `x` served there.
    fn hold<B: Bus>(story: &mut Story<B, Self>, path: &str);

    /// Says this of what is there.
    fn of(path: &str, text: &str) -> Value;

    /// What a read then finds.
    fn found(text: &str) -> String;

    /// One of very many that come before it.
    fn one_of_many(path: &str) -> Value;

    /// One of so many bytes, about, that comes before it.
    fn long(path: &str, bytes: usize) -> Value;
}

/// A name, and what happens: whatever it is, it says in two words what became of it.
pub(super) type Chapter<B, S> = (&'static str, fn(&mut Story<B, S>) -> &'static str);

pub(super) struct Story<B, S> {
    pub(super) bus: B,
    pub(super) app: App,
    /// The last number that was given to anything.
    number: u64,
    said: PhantomData<S>,
}

impl<B: Bus, S: Said> Story<B, S> {
    pub(super) fn open() -> Self {
        let bus = B::open();
        let app = App::open(&bus.source(), S::CACHES, "");
        let mut story = Self { bus, app, number: 0, said: PhantomData };
        S::begin(&mut story);
        story
    }

    /// Tells what there is to tell of every bus.
    pub(super) fn tell(self) {
        self.tell_with([]);
    }

    fn tell_with<const N: usize>(mut self, chapters: [Chapter<B, S>; N]) {
        let end: [Chapter<B, S>; 3] = [
            ("a lost message", Self::lost),
            ("burst", Self::burst),
            ("a consumer that is too slow", Self::slow),
        ];
        let mut told = Vec::new();
        for (name, chapter) in S::chapters().into_iter().chain(chapters).chain(end) {
            println!("{name}");
            self.app.until_fresh();
            told.push((name, chapter(&mut self)));
        }
        report::hold(S::STORY, B::NAME, &told);
    }

    /// Where nothing has been so far.
    pub(super) fn next(&mut self) -> [String; 2] {
        self.number += 1;
        S::paths(self.number)
    }

    /// What chapters are about, and something that nothing is said of: `x` is served of both.
    pub(super) fn held(&mut self) -> [String; 2] {
        let paths = self.next();
        for path in &paths {
            S::hold(self, path);
        }
        paths
    }

    pub(super) fn say(&self, path: &str, text: &str) {
        self.bus.publish(&S::of(path, text));
    }

    pub(super) fn is(&mut self, path: &str, expected: &str) {
        self.app.until_get(path, expected);
    }

    /// The next number shows it, whatever the transport notices.
    fn lost(&mut self) -> &'static str {
        let [path, other] = self.held();
        let numbered = |sequence: u64| {
            let mut said = S::of(&path, &sequence.to_string());
            said["publisher"] = "story".into();
            said["sequence"] = sequence.into();
            said
        };
        self.bus.publish(&numbered(1));
        self.is(&path, &S::found("1"));
        let epoch = self.app.epoch();
        assert_eq!(self.app.get(&other), "hit x");
        self.bus.publish(&numbered(3));
        self.app.until_fresh_after(epoch);
        self.is(&other, "miss");
        assert!(self.app.breaks().contains(&"messages-missed".to_owned()), "{:?}", self.app.breaks());
        S::hold(self, &path);
        self.bus.publish(&numbered(4));
        self.is(&path, &S::found("4"));
        // So that its silence means nothing.
        self.bus.publish(&json!({"freshet": 1, "kind": "bye", "publisher": "story", "sequence": 5}));
        "all is void, with the next number"
    }

    /// So much at once, and the last is what counts.
    fn burst(&mut self) -> &'static str {
        self.much(|story, path| {
            story.bus.publish_many(&S::one_of_many(path), 100_000);
            story.say(path, "z");
        })
    }

    /// A sidecar that stood still while more was said than anybody holds for it.
    fn slow(&mut self) -> &'static str {
        self.much(|story, path| {
            story.app.sidecar.process().pause().unwrap();
            story.bus.publish_many(&S::long(path, B::MOST), TOO_MUCH / B::MOST);
            story.say(path, "z");
            story.app.sidecar.process().resume().unwrap();
        })
    }

    /// When much is said and `z` is the last of it, that is known in the end, or all is void.
    fn much(&mut self, said: impl FnOnce(&mut Self, &str)) -> &'static str {
        let [path, other] = self.held();
        let epoch = self.app.epoch();
        said(self, &path);
        let last = S::found("z");
        self.until_read(&path, |found, now| found == last || !B::KEEPS && now > epoch && found == "miss");
        let found = [&path, &other].map(|path| self.app.get(path));
        if self.app.epoch() == epoch {
            assert_eq!(found, [&last, "hit x"], "nothing was said of the other");
        } else {
            assert!(!B::KEEPS, "{:?}", self.app.breaks());
            self.is(&other, "miss");
        }
        if B::KEEPS { S::LAST } else { S::LAST_OR_VOID }
    }

    /// Waits until this is found there, in this epoch, and all that came is read.
    fn until_read(&mut self, path: &str, is_last: impl Fn(&str, u64) -> bool) {
        self.app
            .sidecar
            .until("all that came is read", CAUGHT_UP, |sidecar| {
                let status = sidecar.status()?;
                let source = &status["sources"]["cdc"];
                let found = outcome(&sidecar.get(path)?);
                let epoch = source["epoch"].as_u64().unwrap_or_default();
                ensure!(is_last(&found, epoch), "{}", found.chars().take(80).collect::<String>());
                ensure!(source["pending"] == 0 && source["state"] == "Fresh", "{source}");
                Ok(())
            })
            .unwrap();
    }
}

impl<B: Bus + Server, S: Said> Story<B, S> {
    /// The same, and what happens to servers and connections.
    pub(super) fn tell_of_a_server(self) {
        self.tell_with([
            ("restart", Self::restart),
            ("kill", Self::kill),
            ("partition", Self::partition),
            ("a connection that is half open", Self::half_open),
            ("a server that stands still", Self::standstill),
        ]);
    }

    fn restart(&mut self) -> &'static str {
        self.over_a_restart(|story| story.bus.restart())
    }

    fn kill(&mut self) -> &'static str {
        self.over_a_restart(|story| story.bus.kill_and_restart())
    }

    fn over_a_restart(&mut self, restart: impl FnOnce(&mut Self)) -> &'static str {
        if B::KEEPS_ITS_PLACE_OVER_RESTARTS {
            return self.over(|story, path| {
                restart(story);
                story.say(path, "y");
            });
        }
        self.all_is_void(|story, _| restart(story))
    }

    /// Something `happens` while something is said: where the transport keeps it, it is known in the end and nothing else
    /// is void; where it doesn't, everything is.
    fn over(&mut self, happens: impl FnOnce(&mut Self, &str)) -> &'static str {
        if !B::KEEPS {
            let became = self.all_is_void(happens);
            assert!(self.app.breaks().contains(&"reconnected".to_owned()), "{:?}", self.app.breaks());
            return became;
        }
        let [path, other] = self.held();
        let (epoch, breaks) = (self.app.epoch(), self.app.breaks());
        happens(self, &path);
        self.is(&path, &S::found("y"));
        self.app.until_fresh();
        assert_eq!(self.app.get(&other), "hit x", "nothing was said of it");
        assert_eq!((self.app.epoch(), self.app.breaks()), (epoch, breaks));
        S::HEARD
    }

    /// Whatever `happens`, nothing that was there before is believed.
    fn all_is_void(&mut self, happens: impl FnOnce(&mut Self, &str)) -> &'static str {
        let [path, other] = self.held();
        let epoch = self.app.epoch();
        happens(self, &path);
        self.app.until_fresh_after(epoch);
        assert_eq!([&path, &other].map(|path| self.app.get(path)), ["miss", "miss"]);
        ALL_VOID
    }

    fn partition(&mut self) -> &'static str {
        self.over(|story, path| {
            story.bus.proxy().refuse();
            story.is(path, "stale disconnected");
            story.say(path, "y");
            story.bus.proxy().pass();
        })
    }

    fn half_open(&mut self) -> &'static str {
        self.over(|story, path| {
            story.bus.proxy().abandon();
            story.say(path, "y");
        })
    }

    fn standstill(&mut self) -> &'static str {
        self.over(|story, path| {
            story.bus.pause();
            story.is(path, "stale disconnected");
            story.bus.resume();
            if B::KEEPS {
                story.say(path, "y");
            }
        })
    }
}
