//! The way to a broker: TCP, TLS, a greeting, SASL.

use std::{sync::Arc, time::Duration};

use freshet_crds::redis_url::HostPort;
use kafka_protocol::{
    error::{ParseResponseErrorCode as _, ResponseError},
    messages::{SaslAuthenticateRequest, SaslHandshakeRequest},
    protocol::StrBytes,
};
use rsasl::prelude::{Mechname, SASLClient, SASLConfig, Session};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{
    Mechanism, Sasl, Target,
    error::{KafkaError, brief},
    wire::{Connection, Stream},
};
use crate::{
    Resolve,
    dial::Dialer,
    error::ConnectError,
    tls::{self, Certificates},
};

/// Makes connections of one kind.
pub(super) struct Way<R> {
    tcp: Dialer<R>,
    tls: Option<TlsConnector>,
    sasl: Option<Sasl>,
    /// How long the making of a connection, and each answer on it, may take.
    pub(super) within: Duration,
}

// === impl Way ===

impl<R: Resolve> Way<R> {
    pub(super) fn new(target: &Target, names: &R, within: Duration) -> Result<Self, KafkaError> {
        let tls = target.tls.as_ref().map(tls::client).transpose()?;
        Ok(Self {
            tcp: Dialer::new(names.clone(), false, &Certificates::default())?,
            tls: tls.map(|config| TlsConnector::from(Arc::new(config))),
            sasl: target.sasl.clone(),
            within,
        })
    }

    /// Connects, encrypts, greets and authenticates.
    pub(super) async fn open(&self, at: &HostPort) -> Result<Connection, KafkaError> {
        // Each step has a limit of its own, and all of them together have this one.
        let opened = timeout(2 * self.within, self.steps(at)).await;
        opened.map_err(|_| ConnectError::Timeout(at.clone()))?
    }

    async fn steps(&self, at: &HostPort) -> Result<Connection, KafkaError> {
        let tcp = self.tcp.reach(at, self.within).await?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(tcp),
            Some(tls) => {
                let name = tls::server_name(at)?;
                let encrypted = timeout(self.within, tls.connect(name, tcp)).await;
                // A listener without TLS takes the first bytes for a length, and hangs up or waits for the rest.
                let encrypted = encrypted.map_err(|_| KafkaError::NotTls(at.clone()))?;
                Box::new(encrypted.map_err(|error| match tls::meaning(&error, at) {
                    ConnectError::NotTls(at) => KafkaError::NotTls(at),
                    ConnectError::Tls(at, _)
                        if error.get_ref().is_none_or(|why| !why.is::<rustls::Error>()) =>
                    {
                        KafkaError::NotTls(at)
                    }
                    error => error.into(),
                })?)
            }
        };
        let mut connection = Connection::greet(stream, at, self.tls.is_some(), self.within).await?;
        if let Some(sasl) = &self.sasl {
            authenticate(&mut connection, sasl).await?;
        }
        Ok(connection)
    }
}

async fn authenticate(connection: &mut Connection, sasl: &Sasl) -> Result<(), KafkaError> {
    let at = connection.at().clone();
    let mechanism = sasl.mechanism.as_str();
    let mut session = session(sasl)?;
    let version = connection.version::<SaslHandshakeRequest>(1..=1)?;
    let question = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(mechanism));
    let answer = connection.ask(&question, version, Duration::ZERO).await?;
    match answer.error_code.err() {
        None => {}
        Some(ResponseError::IllegalSaslState) => return Err(KafkaError::NoSasl(at)),
        Some(ResponseError::UnsupportedSaslMechanism) => {
            let offers: Vec<_> = answer.mechanisms.iter().map(StrBytes::as_str).collect();
            return Err(KafkaError::NoMechanism { at, mechanism, offers: brief(&offers.join(", ")) });
        }
        Some(error) => return Err(KafkaError::of(error, "SASL", None)),
    }
    let version = connection.version::<SaslAuthenticateRequest>(1..=2)?;
    let mut said = None;
    loop {
        let mut ours = Vec::new();
        let state = session.step(said.as_deref(), &mut ours).map_err(|error| match said {
            // Nothing of what it says: it may repeat what it was given.
            None => KafkaError::Unusable(format!("{mechanism} can't carry one of their characters")),
            Some(_) => KafkaError::Refused(at.clone(), brief(&error.to_string())),
        })?;
        if state.has_sent_message() {
            let question = SaslAuthenticateRequest::default().with_auth_bytes(ours.into());
            let answer = connection.ask(&question, version, Duration::ZERO).await?;
            if let Some(error) = answer.error_code.err() {
                let says = answer.error_message.as_ref().map_or("", StrBytes::as_str);
                let says = if says.is_empty() { format!("{error:?}") } else { says.to_owned() };
                return Err(KafkaError::Refused(at, brief(&says)));
            }
            if let Some(lifetime) = u64::try_from(answer.session_lifetime_ms).ok().filter(|it| *it > 0) {
                connection.expires_in(Duration::from_millis(lifetime));
            }
            said = Some(answer.auth_bytes);
        }
        if state.is_finished() {
            return Ok(());
        }
        if !state.has_sent_message() {
            return Err(KafkaError::Refused(at, format!("it ends {mechanism} in its middle")));
        }
    }
}

fn session(sasl: &Sasl) -> Result<Session, KafkaError> {
    let unusable = |why: &str| KafkaError::Unusable(why.to_owned());
    let config = SASLConfig::with_credentials(None, sasl.username.clone(), sasl.password.clone())
        .map_err(|_| unusable("no mechanism takes them"))?;
    let name =
        Mechname::parse(sasl.mechanism.as_str().as_bytes()).map_err(|_| unusable("no such mechanism"))?;
    SASLClient::new(config).start_suggested(&[name]).map_err(|_| unusable("no such mechanism"))
}

// === impl Mechanism ===

impl Mechanism {
    /// Its name on the wire.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}
