//! A session that tells channels.

use std::{collections::VecDeque, time::Duration};

use tokio_postgres::error::SqlState;

use super::{Broken, PostgresError, Target, literal, way, way::Wire};
use crate::Resolve;

/// How many bytes a payload has at most.
pub const MOST_TOLD: usize = 7999;

/// A session that tells channels.
pub struct Telling {
    wire: Wire,
}

/// Why nothing was told, or perhaps something. No text of it carries a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTold {
    /// Nothing was told, nor ever will be.
    #[error("{0}")]
    Refused(String),
    /// Nothing was told: the server can't now.
    #[error("{0}")]
    Failed(String),
    /// All of it may have been told, or nothing.
    #[error("{0}")]
    Unknown(String),
}

/// Connects. `within` is how long that may take.
pub async fn tell(target: &Target, names: &impl Resolve, within: Duration) -> Result<Telling, PostgresError> {
    Ok(Telling { wire: way::open(target, names, within).await? })
}

// === impl Telling ===

impl Telling {
    /// Whether the connection is there still, as far as is known.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.wire.client.is_closed()
    }

    /// Tells a channel all of this in one transaction, in this order. Whoever gives up waiting doesn't know what became of it.
    pub async fn say(&mut self, channel: &str, payloads: &[String]) -> Result<(), NotTold> {
        if let Some(length) = payloads.iter().map(String::len).find(|length| *length > MOST_TOLD) {
            return Err(NotTold::Refused(format!(
                "a message of {length} bytes is too large: a payload of NOTIFY has at most {MOST_TOLD}"
            )));
        }
        let channel = literal(channel);
        // Statements that are sent as one are one transaction.
        let says =
            payloads.iter().map(|payload| format!("SELECT pg_notify({channel}, {});", literal(payload)));
        match self.wire.ask(&says.collect::<String>(), &mut VecDeque::new()).await {
            Ok(_) => Ok(()),
            Err(Broken::Flooded) => {
                Err(NotTold::Unknown("the server sends what nobody asked for".to_owned()))
            }
            Err(Broken::Failed(error)) => Err(meaning(&error)),
        }
    }
}

fn meaning(error: &tokio_postgres::Error) -> NotTold {
    let Some(said) = error.as_db_error() else {
        return NotTold::Unknown("the connection is lost".to_owned());
    };
    let (code, text) = (said.code(), format!("PostgreSQL says: {}", said.message()));
    // An administrator's command ends a session whatever has become of its transaction.
    if [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN].contains(code) {
        NotTold::Unknown(text)
    } else if [SqlState::INVALID_PARAMETER_VALUE, SqlState::INSUFFICIENT_PRIVILEGE].contains(code) {
        NotTold::Refused(text)
    } else {
        NotTold::Failed(text)
    }
}
