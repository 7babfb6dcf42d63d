//! Questions and answers in Kafka's protocol, one at a time.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{Buf as _, Bytes, BytesMut};
use kafka_protocol::error::ParseResponseErrorCode as _;
use kafka_protocol::messages::{RequestHeader, ResponseHeader, TopicName};
use kafka_protocol::protocol::{Decodable as _, Encodable as _, HeaderVersion as _, Request, StrBytes};

/// How long an answer may take, so that a paused Kafka is an error and not a hang.
const ANSWER: Duration = Duration::from_secs(30);

/// A connection of the tests' own.
pub(super) struct Connection {
    stream: TcpStream,
    asked: i32,
}

impl Connection {
    pub(super) fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, ANSWER).context("connecting to Kafka")?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, asked: 0 })
    }

    /// Asks in this version of the request, which every Kafka 4 has.
    pub(super) fn ask<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response> {
        self.asked += 1;
        let mut header = RequestHeader::default();
        header.request_api_key = R::KEY;
        header.request_api_version = version;
        header.correlation_id = self.asked;
        header.client_id = Some(text("freshet-tests"));
        let mut question = BytesMut::new();
        header.encode(&mut question, R::header_version(version))?;
        request.encode(&mut question, version)?;
        self.stream.write_all(&u32::try_from(question.len())?.to_be_bytes())?;
        self.stream.write_all(&question)?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).context("waiting for Kafka's answer")?;
        let mut answer = vec![0; usize::try_from(u32::from_be_bytes(length))?];
        self.stream.read_exact(&mut answer).context("reading Kafka's answer")?;
        let mut answer = Bytes::from(answer);
        let header = ResponseHeader::decode(&mut answer, R::Response::header_version(version))?;
        ensure!(header.correlation_id == self.asked, "the answer is to another question");
        let response = R::Response::decode(&mut answer, version)?;
        ensure!(!answer.has_remaining(), "{} bytes are left of the answer", answer.remaining());
        Ok(response)
    }
}

/// Fails if an answer has an error's code.
pub(super) fn succeeded(code: i16, message: Option<&StrBytes>) -> Result<()> {
    match code.err() {
        None => Ok(()),
        Some(error) => bail!("{error:?}: {}", message.map_or("", |message| message.as_str())),
    }
}

pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(super) fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}
