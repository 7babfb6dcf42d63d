//! Connections to a source's PostgreSQL, to hear what `NOTIFY` says.
//!
//! Nothing runs while nobody asks: a connection is read by whoever waits on it. What isn't taken stays with the server,
//! which keeps it; so nothing is lost by being slow, and nothing piles up here.

use std::{collections::VecDeque, future::poll_fn, task::Poll, time::Duration};

use freshet_crds::{host_port::HostPort, postgres_url::PostgresUrl};
use tokio::time::{Instant, timeout};
use tokio_postgres::{AsyncMessage, SimpleQueryMessage};

use crate::{Certificates, ConnectError, Resolve};

mod failure;
mod telling;
mod way;

pub use failure::PostgresError;
use failure::meaning;
pub use telling::{MOST_TOLD, NotTold, Telling, tell};
use way::Wire;

/// After how long the server is to end a session that takes nothing, in milliseconds: what is kept for one is kept of all
/// channels, and when there is too much of it, whoever notifies fails.
const GIVEN_UP: u32 = 60_000;
/// The most that is heard at once, in bytes of payloads.
const HELD: usize = 64 << 20;

/// Where a PostgreSQL is. Its `Debug` keeps passwords and keys to itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The server, the database, and who we are there.
    pub url: PostgresUrl,
    /// The certificates of both sides; `None` means without TLS.
    pub tls: Option<Certificates>,
}

/// A session that listens on one channel.
pub struct Listening {
    wire: Wire,
    at: HostPort,
    channel: String,
    /// Asks for the session's identity, and whether it listens.
    question: String,
    /// The server's process that it is.
    pid: String,
}

/// Connects, and listens on a channel. `within` is how long each connection, and each answer, may take.
///
/// Then a notification is sent over a second connection, and has to come without being asked for. A pooler that lends its
/// connections for a transaction takes every statement, and lets no notification through.
pub async fn listen(
    target: &Target,
    names: &impl Resolve,
    channel: &str,
    within: Duration,
) -> Result<Listening, PostgresError> {
    let at = &target.url.at;
    let mut wire = way::open(target, names, within).await?;
    let echo = format!("freshet_{:016x}", rand::random::<u64>());
    let (ours, echoes) = (identifier(channel), identifier(&echo));
    let who = "SELECT pg_backend_pid()";
    let begin = format!("SET tcp_user_timeout = {GIVEN_UP}; LISTEN {ours}; LISTEN {echoes}; {who}");
    let answered = answer(wire.ask(&begin, &mut VecDeque::new()), at, within).await?;
    let pid = answered.into_iter().flatten().next().unwrap_or_default();
    let mut other = way::open(target, names, within).await?;
    let said = format!("SELECT pg_notify({}, '')", literal(&echo));
    answer(other.ask(&said, &mut VecDeque::new()), at, within).await?;
    drop(other);
    let until = Instant::now() + within;
    loop {
        let mut heard = VecDeque::new();
        wire.hear(&mut heard, until).await.map_err(|error| meaning(&error, target))?;
        if heard.iter().any(|said| said.channel == echo) {
            break;
        }
        if heard.is_empty() {
            return Err(PostgresError::Pooled(at.clone()));
        }
    }
    answer(wire.ask(&format!("UNLISTEN {echoes}"), &mut VecDeque::new()), at, within).await?;
    let channels = "(SELECT true FROM pg_listening_channels() AS channel WHERE channel = ";
    let question = format!("{who}, EXISTS {channels}{})", literal(channel));
    Ok(Listening { wire, at: at.clone(), channel: channel.to_owned(), question, pid })
}

/// Connects and listens, for whoever wants to know whether that can be done. Answers those of the tables (`schema.table`, or
/// with a database before that) that have no trigger at all, so that nothing tells of their changes.
pub async fn probe<'t>(
    target: &Target,
    names: &impl Resolve,
    channel: &str,
    tables: impl IntoIterator<Item = &'t str>,
    within: Duration,
) -> Result<Vec<String>, PostgresError> {
    let mut session = listen(target, names, channel, within).await?;
    let row = |table: &str| {
        let (rest, name) = table.rsplit_once('.').unwrap_or(("", table));
        let schema = rest.rsplit_once('.').map_or(rest, |(_, schema)| schema);
        format!("({}, {}, {})", literal(table), literal(schema), literal(name))
    };
    let rows: Vec<_> = tables.into_iter().map(row).collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let untold = format!(
        "SELECT asked FROM (VALUES {}) AS tables(asked, schema, name) WHERE NOT EXISTS (SELECT FROM pg_trigger \
         JOIN pg_class ON pg_class.oid = tgrelid JOIN pg_namespace ON pg_namespace.oid = relnamespace \
         WHERE nspname = schema AND relname = name AND NOT tgisinternal AND tgenabled <> 'D') ORDER BY asked",
        rows.join(", ")
    );
    let found = answer(session.wire.ask(&untold, &mut VecDeque::new()), &session.at, within).await?;
    Ok(found.into_iter().flatten().collect())
}

/// The rows of an answer, its columns as texts.
async fn answer(
    asked: impl Future<Output = Result<Vec<Vec<String>>, Broken>>,
    at: &HostPort,
    within: Duration,
) -> Result<Vec<Vec<String>>, PostgresError> {
    match timeout(within, asked).await {
        Err(_) => Err(ConnectError::Timeout(at.clone()).into()),
        Ok(Err(broken)) => Err(broken.at(at)),
        Ok(Ok(rows)) => Ok(rows),
    }
}

/// What keeps an answer from coming.
#[derive(Debug)]
enum Broken {
    /// An error of the client's, the server's words included.
    Failed(tokio_postgres::Error),
    /// More was heard than is held at once.
    Flooded,
}

impl Broken {
    fn at(self, at: &HostPort) -> PostgresError {
        match self {
            Self::Failed(error) => failure::said(&error, at),
            Self::Flooded => PostgresError::Flooded(at.clone()),
        }
    }
}

// === impl Listening ===

impl Listening {
    /// Takes what has come to the end of `heard`, and waits until then for the first.
    pub async fn next(&mut self, heard: &mut VecDeque<String>, until: Instant) -> Result<(), PostgresError> {
        let mut said = VecDeque::new();
        self.wire.hear(&mut said, until).await.map_err(|error| failure::said(&error, &self.at))?;
        heard.extend(said.into_iter().filter(|said| said.channel == self.channel).map(|said| said.payload));
        Ok(())
    }

    /// Goes to the server and back: what it had sent on this session before it answers is then in `heard`.
    ///
    /// The answer has to be of the session that listens: it would be another's if a pooler stood between.
    pub async fn round_trip(&mut self, heard: &mut VecDeque<String>) -> Result<(), PostgresError> {
        let mut said = VecDeque::new();
        let rows = self.wire.ask(&self.question, &mut said).await.map_err(|broken| broken.at(&self.at))?;
        heard.extend(said.into_iter().filter(|said| said.channel == self.channel).map(|said| said.payload));
        match rows.first().map(Vec::as_slice) {
            Some([pid, listens]) if *pid == self.pid && listens == "t" => Ok(()),
            _ => Err(PostgresError::Pooled(self.at.clone())),
        }
    }

    /// The server.
    #[must_use]
    pub fn at(&self) -> &HostPort {
        &self.at
    }
}

// === impl Wire ===

impl Wire {
    /// Takes what has come, and waits until then for the first.
    async fn hear(
        &mut self,
        heard: &mut VecDeque<Said>,
        until: Instant,
    ) -> Result<(), tokio_postgres::Error> {
        let connection = &mut self.connection;
        let came = poll_fn(|cx| {
            let (mut held, mut came) = (0, false);
            loop {
                match connection.poll_message(cx) {
                    Poll::Ready(Some(Ok(AsyncMessage::Notification(notification)))) => {
                        came = true;
                        held += notification.payload().len();
                        heard.push_back(Said::of(&notification));
                        if held >= HELD {
                            return Poll::Ready(Ok(()));
                        }
                    }
                    // Warnings, as of a password that is about to expire.
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                    // It ends by itself only where nobody can ask any more, and we can.
                    Poll::Ready(None) | Poll::Pending => {
                        return if came { Poll::Ready(Ok(())) } else { Poll::Pending };
                    }
                }
            }
        });
        tokio::time::timeout_at(until, came).await.unwrap_or(Ok(()))
    }

    /// Asks, and takes what comes before the answer.
    async fn ask(&mut self, question: &str, heard: &mut VecDeque<Said>) -> Result<Vec<Vec<String>>, Broken> {
        let Self { client, connection } = self;
        let mut asked = Box::pin(client.simple_query(question));
        let mut held = 0;
        let messages = poll_fn(|cx| {
            // First it is sent, and at last its answer is taken: what was read before that has come before.
            if let Poll::Ready(answer) = asked.as_mut().poll(cx) {
                return Poll::Ready(answer.map_err(Broken::Failed));
            }
            loop {
                match connection.poll_message(cx) {
                    Poll::Ready(Some(Ok(AsyncMessage::Notification(notification)))) => {
                        held += notification.payload().len();
                        heard.push_back(Said::of(&notification));
                        if held > HELD {
                            return Poll::Ready(Err(Broken::Flooded));
                        }
                    }
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(Broken::Failed(error))),
                    Poll::Ready(None) | Poll::Pending => break,
                }
            }
            asked.as_mut().poll(cx).map_err(Broken::Failed)
        })
        .await?;
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let columns = |row: &tokio_postgres::SimpleQueryRow| {
            (0..row.len()).map(|column| row.get(column).unwrap_or_default().to_owned()).collect()
        };
        Ok(rows.map(columns).collect())
    }
}

/// A notification.
struct Said {
    channel: String,
    payload: String,
}

impl Said {
    fn of(notification: &tokio_postgres::Notification) -> Self {
        Self { channel: notification.channel().to_owned(), payload: notification.payload().to_owned() }
    }
}

/// A name as SQL takes it, whatever is in it.
fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL takes it, whatever is in it, and whatever `standard_conforming_strings` is.
fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

#[cfg(test)]
mod tests {
    use super::{Target, identifier, literal};

    #[test]
    fn names_and_texts_are_quoted_whatever_is_in_them() {
        assert_eq!(identifier("A \"b\"\\"), r#""A ""b""\""#);
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"a\'b"), r"E'a\\''b'");
    }

    #[test]
    fn passwords_are_kept_back() {
        let target = Target { url: "postgres://freshet:hush@a/b".parse().unwrap(), tls: None };
        assert!(!format!("{target:?}").contains("hush"));
    }
}
