//! The file of scenarios.

use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) scenarios: Vec<Scenario>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scenario {
    pub(super) name: String,
    /// Where the client finds its sidecar.
    #[serde(default)]
    pub(super) at: At,
    pub(super) steps: Vec<Step>,
}

/// What is at the places that the environment names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum At {
    /// The sidecar, at its socket; nothing at the URL.
    #[default]
    Socket,
    /// The sidecar, at its URL; nothing at the socket.
    Url,
    /// Nothing.
    Nowhere,
    /// Somebody who accepts and says nothing.
    Silent,
    /// Somebody who speaks another protocol.
    Garbage,
    /// Somebody who closes before the end of an answer.
    Truncated,
    /// Somebody whose answer comes byte by byte for ever.
    Dripping,
    /// Somebody who closes each connection.
    Closing,
    /// Another HTTP server.
    Stranger,
    /// A sidecar that takes no more connections.
    Overloaded,
    /// A sidecar that is gone when it has read what is to be published, and answers from the next time on.
    Dying,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Step {
    Do(Do),
    Call(Box<Call>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Do {
    #[serde(rename = "do")]
    pub(super) actions: Vec<Action>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Call {
    /// What of the answer is given a name.
    #[serde(default)]
    pub(super) save: Map<String, Value>,
    /// What the loader does; without it the loader isn't to be called.
    pub(super) load: Option<Load>,
    /// What is done between the call and its answer.
    #[serde(default)]
    pub(super) meanwhile: Vec<Action>,
    /// What the answer has, at least. `loads` are the calls of the loader.
    #[serde(default)]
    pub(super) expect: Map<String, Value>,
    /// The call itself, as the client's program understands it.
    #[serde(flatten)]
    pub(super) asks: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Load {
    /// What is done before the loader returns.
    #[serde(default)]
    pub(super) during: Vec<Action>,
    /// What it returns: `value`, `absent`, `repeat` or `error`, and what it says in `fill`.
    #[serde(flatten)]
    pub(super) turn: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub(super) enum Process {
    Kill,
    Start,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub(super) enum Broker {
    /// Nothing can be added any more.
    Refuse,
    /// It can again.
    Accept,
    /// It doesn't answer.
    Pause,
    /// It does again, and the sidecar has caught up.
    Resume,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(super) enum Action {
    /// A row changes, and the sidecar has applied it.
    Write {
        write: Row,
    },
    /// A row changes, and the sidecar hasn't heard of it. The commit's position is given a name.
    Commit {
        commit: Row,
        r#as: String,
    },
    /// The sidecar hears of it.
    Deliver {
        deliver: String,
    },
    Sidecar {
        sidecar: Process,
    },
    Redis {
        redis: Broker,
    },
    /// What was published last has these members, as it stands in the source.
    Envelope {
        envelope: Map<String, Value>,
    },
    /// Another client finds this value, who may say which type it takes.
    Find {
        get: String,
        is: String,
        accept: Option<String>,
    },
    /// Another client misses. Its lease is given a name.
    Miss {
        get: String,
        r#as: String,
    },
    /// Another client fills.
    Fill {
        put: String,
        lease: Value,
        value: String,
    },
    /// So many reads of the cache have missed since the step began.
    UntilMissed {
        until_missed: String,
        reads: u64,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    pub(super) table: String,
    pub(super) id: u32,
}
