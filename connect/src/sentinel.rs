//! The master that Sentinels name.

use std::{collections::HashMap, fmt::Display, time::Duration};

use freshet_crds::redis_url::{Credentials, HostPort};
use redis::{FromRedisValue as _, Value, aio::MultiplexedConnection};
use tokio::{
    task::{AbortHandle, JoinSet},
    time::{Instant, timeout, timeout_at},
};
use tracing::{debug, info};

use crate::{
    Resolve, SENTINEL,
    dial::{Connected, Dialer, Driver},
    error::{ConnectError, Unusable, refusal},
};

/// How much longer than the first answer the others are waited for: one of them may know better.
const GRACE: Duration = Duration::from_millis(200);
/// How often the Sentinels are asked again.
const AGAIN: Duration = Duration::from_secs(2);

/// Whom to ask for what.
#[derive(Clone)]
pub(crate) struct Asked {
    sentinels: Vec<HostPort>,
    service: String,
    credentials: Credentials,
}

/// A master as a Sentinel names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) at: HostPort,
    /// Rises with every failover that Sentinels agreed on.
    epoch: u64,
}

// === impl Asked ===

impl Asked {
    pub(crate) fn new(sentinels: &[HostPort], service: &str, credentials: &Credentials) -> Self {
        Self { sentinels: sentinels.to_vec(), service: service.to_owned(), credentials: credentials.clone() }
    }

    /// Asks all Sentinels at once. The one with the newest agreement is right: a Sentinel that was cut off may still
    /// name an old master.
    pub(crate) async fn master<R: Resolve>(&self, dialer: &Dialer<R>) -> Result<Named, ConnectError> {
        let mut asking = JoinSet::new();
        for at in &self.sentinels {
            let (asked, dialer, at) = (self.clone(), dialer.clone(), at.clone());
            asking.spawn(async move {
                let named = timeout(SENTINEL, asked.ask(&dialer, &at)).await;
                named.unwrap_or(Err(ConnectError::Timeout(at)))
            });
        }
        let (mut best, mut failed): (Option<Named>, _) = (None, Vec::new());
        let mut until = Instant::now() + 2 * SENTINEL;
        while let Ok(Some(answer)) = timeout_at(until, asking.join_next()).await {
            match answer {
                Ok(Ok(named)) => {
                    until = until.min(Instant::now() + GRACE);
                    if best.as_ref().is_none_or(|best| best.epoch < named.epoch) {
                        best = Some(named);
                    }
                }
                Ok(Err(error)) => failed.push(error),
                Err(_) => {}
            }
        }
        best.ok_or_else(|| match failed.len() {
            1 => failed.remove(0),
            _ => ConnectError::NoMaster(sentences(&failed)),
        })
    }

    async fn ask<R: Resolve>(&self, dialer: &Dialer<R>, at: &HostPort) -> Result<Named, ConnectError> {
        let mut sentinel = dialer.dial(at, &self.credentials, 0, SENTINEL).await?;
        self.ask_on(&mut sentinel).await
    }

    async fn ask_on(&self, sentinel: &mut Connected) -> Result<Named, ConnectError> {
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("MASTER").arg(&self.service);
        let answer = ask.query_async::<Value>(&mut sentinel.redis).await.map_err(|error| {
            match (error.code(), error.detail()) {
                (Some("ERR"), Some(says)) if says.contains("No such master") => ConnectError::NoMaster(
                    format!("the Sentinel at {} knows no service {}", sentinel.at, self.service),
                ),
                (Some("ERR"), Some(says)) if says.contains("unknown command") => {
                    ConnectError::NoMaster(format!("{} isn't a Sentinel", sentinel.at))
                }
                _ => refusal(&error).into(),
            }
        })?;
        let facts = HashMap::<String, String>::from_redis_value(answer).unwrap_or_default();
        let fact = |name: &str| facts.get(name).filter(|value| !value.is_empty());
        let named = || {
            let at = HostPort { host: fact("ip")?.clone(), port: fact("port")?.parse().ok()? };
            Some(Named { at, epoch: fact("config-epoch")?.parse().ok()? })
        };
        named()
            .ok_or_else(|| ConnectError::NoMaster(format!("{} doesn't answer as Sentinels do", sentinel.at)))
    }

    /// Asks one Sentinel after the other, again and again, and ends `link` once they have agreed on another master
    /// than `known`.
    pub(crate) fn watch<R: Resolve>(self, dialer: Dialer<R>, known: Named, link: AbortHandle) -> Driver {
        Driver::spawn(async move {
            let mut kept: Option<Connected> = None;
            for at in self.sentinels.iter().cycle() {
                tokio::time::sleep(AGAIN).await;
                // One that answers is asked as long as it does.
                loop {
                    let asked = async {
                        let mut sentinel = match kept.take() {
                            Some(sentinel) => sentinel,
                            None => dialer.dial(at, &self.credentials, 0, SENTINEL).await?,
                        };
                        let named = self.ask_on(&mut sentinel).await?;
                        Ok::<_, ConnectError>((named, sentinel))
                    };
                    match timeout(SENTINEL, asked).await {
                        Ok(Ok((named, _))) if named.epoch > known.epoch && named.at != known.at => {
                            info!(from = %known.at, to = %named.at, "Sentinels name another master");
                            link.abort();
                            return;
                        }
                        Ok(Ok((_, sentinel))) => kept = Some(sentinel),
                        Ok(Err(error)) => debug!(%error, "a Sentinel can't be asked"),
                        Err(_) => debug!(sentinel = %at, "a Sentinel doesn't answer"),
                    }
                    if kept.is_none() {
                        break;
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
        })
    }
}

/// An old master doesn't know better than its Sentinels while it starts again.
pub(crate) async fn must_be_master(connected: &mut Connected, within: Duration) -> Result<(), ConnectError> {
    let role = timeout(within, role(&mut connected.redis)).await;
    let role = role.map_err(|_| ConnectError::Timeout(connected.at.clone()))??;
    if role == "master" {
        return Ok(());
    }
    let at = &connected.at;
    Err(ConnectError::NoMaster(format!("the Sentinels name {at}, which isn't one (any more, or yet)")))
}

async fn role(redis: &mut MultiplexedConnection) -> Result<String, Unusable> {
    let asked = redis::cmd("INFO").arg("replication").query_async::<String>(redis).await;
    let info = asked.map_err(|error| refusal(&error))?;
    let role = info.lines().find_map(|line| line.strip_prefix("role:"));
    Ok(role.unwrap_or_default().trim().to_owned())
}

/// Several errors as one text.
pub(crate) fn sentences(errors: &[impl Display]) -> String {
    let mut texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
    texts.sort();
    texts.dedup();
    texts.join("; ")
}
