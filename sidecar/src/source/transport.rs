//! What every transport is for the follower that reads it.
//!
//! A transport says what it has read and what it knows of its streams' continuity, and nothing else: the rules are
//! [`crate::tail`]'s and [`crate::continuity`]'s. A new one is a file with a [`Reader`], and an arm in [`super::follow`].

use std::time::Duration;

use crate::{
    continuity::Break,
    position::Place,
    publishing::Envelope,
    record::{Reading, Record},
    tail::{Parts, Survey},
};

/// Where a source's streams are, and how to come to them.
pub(super) trait Transport: Send + Sync + 'static {
    /// What reads on one connection, or several to one place.
    type Reader: Reader;

    /// Whether several streams have one order: what is written to one after something else was written to another is never
    /// there without it.
    const HAS_ONE_ORDER: bool = true;

    /// Whether messages may be lost on their way though the connection lives: publishers are to be heard of then.
    const LOSES_SILENTLY: bool = false;

    /// Whether the server is the database itself, with nothing between its changes and what is read: what proves that all
    /// that is in the streams was read proves it of the database, and no heartbeat is needed.
    const IS_THE_DATABASE: bool = false;

    /// Connects, to read these topics. All that is mounted is read each time, since it changes.
    fn open(&self, topics: &[&str]) -> impl Future<Output = Result<Self::Reader, ReadError>> + Send;
}

/// Reads streams, each from behind the place where it was read to.
///
/// No method may wait for longer than it is told to, or than a reply may take: whatever has become of the connection
/// is noticed by that.
pub(super) trait Reader: Send {
    /// How topics are divided, where the transport divides them. Asked before anything is read, and with every check.
    fn parts(&mut self, _topics: &[&str]) -> impl Future<Output = Result<Parts, ReadError>> + Send {
        async { Ok(Parts::default()) }
    }

    /// Says who the server is and how all of these streams stand, and reads those that have a place, at most `count` records
    /// each: what it says is of the moment up to which it has read.
    fn survey(
        &mut self,
        streams: &[Stream<'_>],
        count: usize,
    ) -> impl Future<Output = Result<(Survey, Reading), ReadError>> + Send;

    /// Reads on, at most `count` records each; if there is none, it waits so long for the first.
    fn read(
        &mut self,
        streams: &[Stream<'_>],
        count: usize,
        wait: Duration,
    ) -> impl Future<Output = Result<Reading, ReadError>> + Send;

    /// So many of a stream's newest records up to and including this place, newest first. Of a transport that keeps none
    /// there is none.
    fn look_back(
        &mut self,
        _stream: &str,
        _until: Place,
        _count: usize,
    ) -> impl Future<Output = Result<Vec<Record>, ReadError>> + Send {
        async { Ok(Vec::new()) }
    }
}

/// Where a source's publisher writes to, and how to come to it.
pub(super) trait Outlet: Send + Sync + 'static {
    /// What writes on one connection, or several to one place.
    type Writer: Writer;

    /// Connects. All that is mounted is read each time, since it changes.
    fn open(&self) -> impl Future<Output = Result<Self::Writer, WriteError>> + Send;
}

/// Writes what is published, and knows what became of it.
pub(super) trait Writer: Send {
    /// Whether its connection is there still, as far as is known: what is sent on one that is gone nobody knows the outcome of.
    fn is_open(&self) -> bool;

    /// Adds these messages, in their order, and answers when the source has said that it has them all. None of them may come
    /// to be there without those before it, where there is one order.
    ///
    /// Counts in `done` those that the source is known to have, from the first on, where it takes them one by one: they aren't
    /// written again, so that what takes longer than an attempt may comes to its end. Where it takes all or none nothing is
    /// counted. An error is about the rest.
    ///
    /// It may be dropped at any time: what became of those that aren't counted isn't known then.
    fn write(
        &mut self,
        messages: &[Envelope],
        done: &mut usize,
    ) -> impl Future<Output = Result<(), WriteError>> + Send;
}

/// Why something wasn't written, or perhaps not. Its text carries no credential.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// None of it was written: there is no connection, or the source can't take it now.
    #[error("{0}")]
    Unavailable(String),
    /// None of it was written, and the source will not take it.
    #[error("{0}")]
    Refused(String),
    /// Part of it was written, or may have been, and the source will not take the rest.
    #[error("{0}")]
    Partly(String),
    /// Any of it may have been written, or come to be there yet.
    #[error("{0}")]
    Unknown(String),
}

/// A stream, and how far it has been read: `None` where reading has no place yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stream<'a> {
    pub(super) name: &'a str,
    pub(super) place: Option<Place>,
}

/// Why there is nothing to be read. Its text carries no credential.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// Nobody knows what is missing from now on.
    #[error("{text}")]
    Lost { why: Break, text: String },
    #[error("no reply in time")]
    Silence,
    /// What was to be read on the connection may be missing.
    #[error("the connection is lost")]
    Broken,
    /// More has come than there is room for until it is read: what is left out nobody will ever read.
    #[error("more comes than can be read in time: the connection is given up, and with it what wasn't read")]
    Overrun,
    #[error(transparent)]
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

impl ReadError {
    /// An error of the transport's own.
    pub(super) fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Failed(Box::new(error))
    }
}

/// What comes of a future, or [`ReadError::Silence`] if that takes longer.
pub(super) async fn within<T>(
    limit: Duration,
    asked: impl Future<Output = Result<T, ReadError>>,
) -> Result<T, ReadError> {
    tokio::time::timeout(limit, asked).await.unwrap_or(Err(ReadError::Silence))
}
