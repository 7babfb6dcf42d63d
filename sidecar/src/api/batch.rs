//! `POST /v1/{cache}/_batch`: many keys read at one instant, and many values filled.

use std::sync::Arc;

use bytes::Bytes;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderValue},
};

use super::{
    Api, MAX_DEPENDENCIES,
    accept::{self, Converted},
    body::{Held, ROOM},
    connection::{Patience, Phase},
    directives::ReadDirectives,
    fill::{Awaited, Place, Said, count_refused},
    problem::Problem,
    reply::{Content, Reply},
    routes::{hit_status, miss_status, no_lease, not_cached, sources},
    rows, waiting,
};
use crate::{
    catalog::{Cache, Catalog},
    codec::{Codec, Media},
    engine::{Answer, Engine, Hit, Miss},
    entry::Entry,
    freshness::Reason,
    key::Key,
};
use wire::{Asked, Form, Item, Writer, expect_json, text, too_large};

mod wire;

/// Most bytes of a batch, and of the values in its answer.
pub(super) const MAX_BATCH: u64 = ROOM as u64;

/// The cache that a batch is for, or why it isn't served.
pub(super) type Served<'a> = Result<(&'a Catalog, &'a Arc<Cache>), Reason>;

/// What is answered about a key.
enum Shown {
    /// A value, or a known absence.
    Hit(Hit, Value),
    /// Nothing that may be served, and why that is no answer.
    Miss(Miss, Option<Problem>),
    /// It wasn't looked for, or can't be told here.
    Refused(Problem),
}

/// A value as it is shown.
struct Value {
    /// Without its coding, and in JSON where that is asked for.
    body: Bytes,
    form: Form,
    content_type: Bytes,
    etag: Bytes,
    /// Whether the bytes are another copy than the one that is stored.
    is_copy: bool,
}

/// What a batch says, for the fuzzer.
#[derive(Debug)]
pub struct Taken {
    /// How many keys it asks for.
    pub keys: usize,
    /// The value of each fill; `None` of one that is refused.
    pub fills: Vec<Option<Bytes>>,
}

/// Reads a batch and all that its fills say; `None` if it is refused.
pub(crate) fn taken(body: &[u8], sources: &[&str], limit: u64) -> Option<Taken> {
    let asked = Asked::parse(body).ok()?;
    let fill = |item: &Item<'_>| {
        let (_, _, _) = (item.depends(), item.content_type().ok()?, item.directives(sources).ok()?);
        item.body(limit).ok()
    };
    Some(Taken { keys: asked.get.len(), fills: asked.put.iter().map(fill).collect() })
}

/// Answers a batch: all its fills are taken, one by one, and then all its keys are read at one instant.
pub(super) async fn answer(
    api: &Api,
    served: Served<'_>,
    patience: &Patience,
    request: &mut Request<Incoming>,
) -> Result<Reply, Problem> {
    if *request.method() != Method::POST {
        return Err(Problem::method("POST"));
    }
    expect_json(request.headers())?;
    let sources = served.ok().map(|(catalog, _)| sources(catalog));
    let directives = ReadDirectives::parse(request.headers(), sources.as_deref())?;
    let refuse = |limit| too_large(format!("a batch has at most {limit} bytes")).with("limit", limit);
    let received = api.room.receive(request.body_mut(), MAX_BATCH, refuse, patience).await?;
    let asked = Asked::parse(&received.bytes)?;
    patience.enter(Phase::Working);
    let put: Vec<_> = asked
        .put
        .iter()
        .map(|item| (item.key.clone().into_owned(), fill(&api.engine, served, item).err()))
        .collect();
    let get: Vec<_> = asked.get.iter().map(|key| key.clone().into_owned()).collect();
    let convert = asked.convert;
    drop(received);
    let mut shown = read(&api.engine, served, &get, &directives, convert).await;
    // What is copied takes room until it has gone out.
    let copied: usize = shown.iter().map(Shown::copied).sum();
    let room = api.room.take(copied as u64, patience).await.unwrap_or_else(|problem| {
        // What was filled is told all the same.
        let copied = shown.iter_mut().filter(|shown| shown.copied() > 0);
        copied.for_each(|shown| *shown = Shown::Refused(problem.clone()));
        Held::default()
    });
    let pieces = write(get.iter().zip(shown), &put);
    let mut reply = Response::new(Content::pieces(pieces, room));
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(reply)
}

/// Takes a fill as a PUT of its key is taken.
fn fill(engine: &Engine, served: Served<'_>, item: &Item<'_>) -> Result<(), Problem> {
    let (catalog, cache) = served.map_err(no_lease)?;
    let stored = || {
        let key = &rows::key(cache, &item.key)?;
        let place = Place { catalog, cache, key };
        let said = Said {
            lease: item.lease.as_deref(),
            directives: item.directives(&sources(catalog))?,
            content_type: item.content_type()?,
            coding: None,
            depends: item.depends(),
            most: MAX_DEPENDENCIES,
        };
        let awaited = Awaited::of(engine, place, said)?;
        awaited.store(engine, place, item.body(catalog.sidecar.max_value)?)
    };
    stored().inspect_err(|problem| count_refused(cache, problem))
}

/// Reads the keys, and says of those that aren't any what is wrong with them.
async fn read(
    engine: &Engine,
    served: Served<'_>,
    asked: &[String],
    directives: &ReadDirectives,
    convert: bool,
) -> Vec<Shown> {
    let mut left = usize::try_from(MAX_BATCH).unwrap_or(usize::MAX);
    let mut show = |answer| match answer {
        Answer::Hit(hit) => fit(hit, convert, &mut left),
        Answer::Miss(miss) => Shown::Miss(miss, directives.only_if_cached.then(not_cached)),
    };
    let (catalog, cache) = match served {
        Ok(served) => served,
        Err(reason) => {
            let miss = || Miss { stale: true, detail: Some(reason.as_str()), lease: None, pending: None };
            return asked.iter().map(|_| show(Answer::Miss(miss()))).collect();
        }
    };
    let keys: Vec<_> = asked.iter().map(|asked| rows::key(cache, asked)).collect();
    let good: Vec<&Key> = keys.iter().flatten().collect();
    let wanted = directives.wanted(&cache.feed.spec.name, true);
    let answers = waiting::get_all(engine, catalog, cache, &good, wanted, directives.wait).await;
    let mut answers = answers.into_iter();
    let mut next = |key: Result<Key, Problem>| match key {
        Ok(_) => answers.next().map(&mut show),
        Err(problem) => Some(Shown::Refused(problem)),
    };
    keys.into_iter().filter_map(&mut next).collect()
}

/// Shows a value, if it isn't too much for one answer.
fn fit(hit: Hit, convert: bool, left: &mut usize) -> Shown {
    let fits = || {
        // Before it is decoded.
        left.checked_sub(hit.entry.length())?;
        let value = Value::of(&hit.entry, convert);
        let rest = left.checked_sub(value.form.size(value.body.len()).0)?;
        Some((value, rest))
    };
    let Some((value, rest)) = fits() else {
        let detail = format!("the values before it are nearly {MAX_BATCH} bytes: read this one by itself");
        return Shown::Refused(too_large(detail).with("limit", MAX_BATCH));
    };
    *left = rest;
    Shown::Hit(hit, value)
}

impl Value {
    fn of(entry: &Entry, convert: bool) -> Self {
        let plain = entry.plain();
        let cbor = Media::of(&entry.content_type).filter(|media| convert && media.codec == Codec::Cbor);
        if let Some(Converted { content_type, body, etag }) =
            cbor.and_then(|media| accept::in_other_codec(&media, &plain))
        {
            return Self { body, form: Form::Json, content_type, etag, is_copy: true };
        }
        let form = Form::of(&entry.content_type, &plain);
        let (content_type, etag) = (entry.content_type.clone(), entry.etag.clone());
        Self { body: plain, form, content_type, etag, is_copy: entry.coded.is_some() }
    }
}

impl Shown {
    /// How many bytes of the answer are copied for it.
    fn copied(&self) -> usize {
        match self {
            Self::Hit(_, value) if value.is_copy => value.form.size(value.body.len()).0,
            Self::Hit(_, value) => value.form.size(value.body.len()).1,
            Self::Miss(..) | Self::Refused(_) => 0,
        }
    }

    fn write(self, writer: &mut Writer) {
        match self {
            Self::Hit(hit, value) => write_hit(hit, value, writer),
            Self::Miss(miss, problem) => {
                let status = problem.as_ref().map_or(StatusCode::NOT_FOUND, Problem::status);
                writer.member("status", status.as_u16());
                writer.member("cacheStatus", miss_status(&miss));
                if let Some(detail) = miss.detail {
                    writer.member("detail", detail);
                }
                if let Some(grant) = miss.lease {
                    writer.member("lease", &grant.token);
                    writer.member("fill", grant.fill.as_str());
                }
                if let Some(problem) = problem {
                    writer.member("problem", problem.to_json());
                }
            }
            Self::Refused(problem) => write_problem(&problem, writer),
        }
    }
}

fn write_hit(hit: Hit, value: Value, writer: &mut Writer) {
    let Hit { entry, age, ttl, detail, position } = hit;
    writer.member("status", if entry.absent { 404 } else { 200 });
    writer.member("cacheStatus", hit_status(ttl, detail));
    if let Some(detail) = detail {
        writer.member("detail", detail);
    }
    writer.member("ttl", ttl);
    writer.member("age", age);
    if let Some(position) = position {
        writer.member("position", text(&position));
    }
    if !entry.absent {
        writer.member("etag", text(&value.etag));
        writer.member("type", text(&value.content_type));
        writer.body(value.form, value.body);
    }
}

fn write_problem(problem: &Problem, writer: &mut Writer) {
    writer.member("status", problem.status().as_u16());
    writer.member("problem", problem.to_json());
}

fn write<'a>(
    get: impl Iterator<Item = (&'a String, Shown)>,
    put: &[(String, Option<Problem>)],
) -> Vec<Bytes> {
    let mut writer = Writer::default();
    let begin = |writer: &mut Writer, i: usize, key: &str| {
        writer.raw(if i > 0 { ",{\"key\":" } else { "{\"key\":" });
        writer.json(key);
    };
    writer.raw("{\"get\":[");
    for (i, (key, shown)) in get.enumerate() {
        begin(&mut writer, i, key);
        shown.write(&mut writer);
        writer.raw("}");
    }
    writer.raw("],\"put\":[");
    for (i, (key, problem)) in put.iter().enumerate() {
        begin(&mut writer, i, key);
        match problem {
            None => writer.member("status", 204),
            Some(problem) => write_problem(problem, &mut writer),
        }
        writer.raw("}");
    }
    writer.raw("]}");
    writer.finish()
}
