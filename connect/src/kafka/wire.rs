//! One connection to one broker: frames, versions, one question at a time.

use std::{
    collections::HashMap,
    io,
    ops::RangeInclusive,
    pin::Pin,
    task::{Context, Waker},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use freshet_crds::redis_url::HostPort;
use kafka_protocol::{
    error::ParseResponseErrorCode as _,
    messages::{
        ApiKey, ApiVersionsRequest, ApiVersionsResponse, RequestHeader, ResponseHeader,
        api_versions_response::ApiVersion,
    },
    protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    time::{Instant, timeout_at},
};

use super::error::{KafkaError, brief};
use crate::{error::ConnectError, tls};

/// The largest answer, in bytes. What isn't Kafka seems to announce far more: `HTTP` would be 1.2 GB.
const LARGEST: usize = 512 << 20;
/// What is made room for at once of an answer, in bytes: its length is only a claim.
const ROOM: usize = 1 << 20;

/// How requests are told apart in a broker's metrics.
const NAME: &str = "freshet";

/// What a connection runs over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Sync {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + Sync> Stream for S {}

/// A connection to a broker. After an error of [`Connection::ask`] it can't be used any more.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    at: HostPort,
    encrypted: bool,
    versions: HashMap<i16, RangeInclusive<i16>>,
    last_id: i32,
    /// When the broker will want to know again who we are.
    expires: Option<Instant>,
    /// Until when the broker doesn't listen, because we are above a quota.
    muted: Instant,
    within: Duration,
}

// === impl Connection ===

impl Connection {
    /// Greets a broker: asks for the versions that it knows. `within` is how long each answer may take.
    pub(super) async fn greet(
        stream: Box<dyn Stream>,
        at: &HostPort,
        encrypted: bool,
        within: Duration,
    ) -> Result<Self, KafkaError> {
        let mut connection = Self {
            stream,
            at: at.clone(),
            encrypted,
            versions: HashMap::new(),
            last_id: 0,
            expires: None,
            muted: Instant::now(),
            within,
        };
        let question = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str(NAME))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let mut answer = connection.exchange(&question, 3, Duration::ZERO).await?;
        // One that doesn't know this version answers in the oldest.
        let version = if answer.starts_with(&35_i16.to_be_bytes()) {
            answer = connection.exchange(&ApiVersionsRequest::default(), 0, Duration::ZERO).await?;
            0
        } else {
            3
        };
        let strange = |what: &str| KafkaError::NotKafka(at.clone(), what.to_owned());
        let answer = ApiVersionsResponse::decode(&mut answer, version)
            .map_err(|_| strange("its first answer can't be read"))?;
        if let Some(error) = answer.error_code.err() {
            return Err(strange(&format!("it says {error:?}")));
        }
        // Of near a hundred kinds of requests those that we make.
        let ours = |one: &&ApiVersion| name(one.api_key).is_some();
        let known = |one: &ApiVersion| (one.api_key, one.min_version..=one.max_version);
        connection.versions = answer.api_keys.iter().filter(ours).map(known).collect();
        Ok(connection)
    }

    /// The broker.
    pub(super) fn at(&self) -> &HostPort {
        &self.at
    }

    /// The newest of these versions of a request that the broker knows, too.
    pub(super) fn version<Q: Request>(&self, ours: RangeInclusive<i16>) -> Result<i16, KafkaError> {
        let theirs = self.versions.get(&Q::KEY);
        let newest = theirs.map_or(-1, |theirs| *theirs.end());
        let common = newest.min(*ours.end());
        if common < *ours.start() {
            let api = name(Q::KEY).unwrap_or("another request");
            return Err(KafkaError::TooOld { at: self.at.clone(), api, has: newest, needs: *ours.start() });
        }
        if theirs.is_some_and(|theirs| common < *theirs.start()) {
            return Err(KafkaError::NotKafka(
                self.at.clone(),
                "it knows only newer requests than we do".into(),
            ));
        }
        Ok(common)
    }

    /// Asks one question and waits for its answer, `longer` than for others.
    pub(super) async fn ask<Q: Request>(
        &mut self,
        question: &Q,
        version: i16,
        longer: Duration,
    ) -> Result<Q::Response, KafkaError> {
        let mut answer = self.exchange(question, version, longer).await?;
        Q::Response::decode(&mut answer, version)
            .map_err(|error| KafkaError::Malformed(brief(&format!("{}: {error:#}", self.at))))
    }

    /// The session ends after this time, as the broker says; until a little before it the connection is used.
    pub(super) fn expires_in(&mut self, lifetime: Duration) {
        self.expires = Some(Instant::now() + lifetime * 9 / 10);
    }

    /// The broker has told that it won't listen for this time, in milliseconds.
    pub(super) fn throttled(&mut self, milliseconds: i32) {
        let milliseconds = u64::try_from(milliseconds).unwrap_or_default();
        self.muted = Instant::now() + Duration::from_millis(milliseconds);
    }

    /// Whether it can be used for one more question, as far as that is to be seen: neither closed from the other
    /// side, which brokers do after ten idle minutes, nor near the end of its session.
    pub(super) fn is_fresh(&mut self) -> bool {
        if self.expires.is_some_and(|at| at <= Instant::now()) {
            return false;
        }
        let mut byte = [0];
        let mut room = ReadBuf::new(&mut byte);
        let stream = Pin::new(&mut *self.stream);
        // Nothing was asked: whatever is there to read is the end, or what nobody waits for.
        stream.poll_read(&mut Context::from_waker(Waker::noop()), &mut room).is_pending()
    }

    /// The body of an answer.
    async fn exchange<Q: Request>(
        &mut self,
        question: &Q,
        version: i16,
        longer: Duration,
    ) -> Result<Bytes, KafkaError> {
        self.last_id = self.last_id.wrapping_add(1) & i32::MAX;
        let sent = frame(question, version, self.last_id)
            .map_err(|error| KafkaError::Malformed(brief(&format!("our own request: {error:#}"))))?;
        let deadline = self.muted.max(Instant::now()) + self.within + longer;
        let exchanged = async {
            self.stream.write_all(&sent).await?;
            self.stream.flush().await?;
            self.receive().await
        };
        let received = timeout_at(deadline, exchanged).await;
        let received = received.map_err(|_| ConnectError::Timeout(self.at.clone()))?;
        let mut answer = received.map_err(|error| self.broken(&error))?;
        let header = ResponseHeader::decode(&mut answer, Q::Response::header_version(version));
        if header.ok().map(|header| header.correlation_id) != Some(self.last_id) {
            return Err(KafkaError::NotKafka(self.at.clone(), "it answers what wasn't asked".into()));
        }
        Ok(answer)
    }

    /// An answer with its id, without its length.
    async fn receive(&mut self) -> io::Result<Bytes> {
        let length = self.stream.read_i32().await?;
        let length = usize::try_from(length).ok().filter(|length| *length <= LARGEST);
        let length = length.ok_or(io::ErrorKind::InvalidData)?;
        let mut answer = BytesMut::with_capacity(length.min(ROOM));
        while answer.len() < length {
            let missing = length - answer.len();
            if answer.len() == answer.capacity() {
                answer.reserve(missing.min(answer.len()));
            }
            if (&mut self.stream).take(missing as u64).read_buf(&mut answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(answer.freeze())
    }

    /// What an error of a connection that was made means.
    fn broken(&self, error: &io::Error) -> KafkaError {
        let at = self.at.clone();
        match error.kind() {
            io::ErrorKind::InvalidData if error.get_ref().is_none() => {
                KafkaError::NotKafka(at, "no answer has such a length".into())
            }
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                KafkaError::Closed(at)
            }
            _ if self.encrypted => tls::meaning(error, &at).into(),
            kind => ConnectError::NoConnection(at, kind.to_string()).into(),
        }
    }
}

/// A request with its length and header.
fn frame<Q: Request>(question: &Q, version: i16, id: i32) -> Result<BytesMut, Box<dyn std::error::Error>> {
    let header = RequestHeader::default()
        .with_request_api_key(Q::KEY)
        .with_request_api_version(version)
        .with_correlation_id(id)
        .with_client_id(Some(StrBytes::from_static_str(NAME)));
    let mut bytes = BytesMut::zeroed(4);
    header.encode(&mut bytes, Q::header_version(version))?;
    question.encode(&mut bytes, version)?;
    let length = i32::try_from(bytes.len() - 4)?;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    Ok(bytes)
}

/// Kafka's name of a kind of request, of those that we make.
fn name(key: i16) -> Option<&'static str> {
    Some(match ApiKey::try_from(key).ok()? {
        ApiKey::Metadata => "Metadata",
        ApiKey::ListOffsets => "ListOffsets",
        ApiKey::Fetch => "Fetch",
        ApiKey::Produce => "Produce",
        ApiKey::SaslHandshake => "SaslHandshake",
        ApiKey::SaslAuthenticate => "SaslAuthenticate",
        ApiKey::DescribeConfigs => "DescribeConfigs",
        _ => return None,
    })
}
