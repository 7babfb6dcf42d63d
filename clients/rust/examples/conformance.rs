//! Does what `clients/conformance` asks for, a line of JSON at a time.

use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, Write as _},
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use freshet_client::{
    Answer, Bytes, Cbor, Client, Codec, Config, Fill, Json, Key, Load, Outcome, Parameter, Publication,
    PublishError, PublishProblem, Read, Status, query_key, row, table, tag,
};
use serde_json::{Value, json};

type Told = Arc<Mutex<Vec<[String; 2]>>>;
type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let told = Told::default();
    let mut client = client(&told, None)?;
    while let Some(call) = hear()? {
        let started = Instant::now();
        let mut said = if call["call"] == "new" {
            client = self::client(&told, call["timeout"].as_f64())?;
            json!({})
        } else {
            answer(&client, &call).await?
        };
        said["ms"] = u64::try_from(started.elapsed().as_millis())?.into();
        said["told"] = json!(std::mem::take(&mut *told.lock().map_err(|error| error.to_string())?));
        say(&json!({"answer": said}))?;
    }
    Ok(())
}

fn client(told: &Told, timeout: Option<f64>) -> Result<Client, Failure> {
    let told = Arc::clone(told);
    let tell = move |cache: &str, problem: &str| {
        if let Ok(mut told) = told.lock() {
            told.push([cache.to_owned(), problem.to_owned()]);
        }
    };
    let mut config = Config { on_problem: Some(Arc::new(tell)), ..Config::default() };
    if let Some(timeout) = timeout.map(Duration::from_secs_f64) {
        (config.timeout, config.connect_timeout) = (timeout, timeout);
    }
    Ok(Client::with(config)?)
}

async fn answer(client: &Client, call: &Value) -> Result<Value, Failure> {
    let cache = call["cache"].as_str().unwrap_or_default();
    if call["call"] == "address" {
        let address = call["address"].as_str().map(str::to_owned);
        return Ok(json!({"taken": Client::with(Config { address, ..Config::default() }).is_ok()}));
    }
    if call["call"] == "query_key" {
        let parameters: Vec<_> = call["params"].as_array().into_iter().flatten().map(parameter).collect();
        return Ok(json!({"key": query_key(call["text"].as_str().unwrap_or_default(), &parameters)}));
    }
    let key = Key::of(call["key"].as_array().into_iter().flatten().map(column));
    let load = load(&call["options"]);
    Ok(match call["call"].as_str() {
        Some("get") => {
            let found = client.get(cache, &key, &load.read).await;
            let mut said = shown(&found);
            said["type"] = json!(found.content_type);
            said["text"] = json!(found.value.as_deref().map(String::from_utf8_lossy));
            said
        }
        Some("many") => {
            json!({"hits": many(client, cache, &key, call["times"].as_u64().unwrap_or(0)).await?})
        }
        Some("put") => {
            let lease = call["lease"].as_str().unwrap_or_default();
            let value = Some(&call["value"]).filter(|value| !value.is_null());
            let outcome = match call["codec"].as_str() {
                Some("json") => client.put(cache, &key, lease, value, load, &Json).await,
                _ => client.put(cache, &key, lease, value, load, &Cbor).await,
            };
            json!({"outcome": word(&outcome, "stored")})
        }
        Some("publish") => publish(client, cache, call).await?,
        Some("invalidate_tag") => {
            let outcome = client.invalidate_tag(call["tag"].as_str().unwrap_or_default()).await;
            json!({"outcome": word(&outcome, "invalidated")})
        }
        Some("delete") => json!({"outcome": word(&client.delete(cache, &key).await, "deleted")}),
        _ if call["codec"] == "bytes" => {
            let bytes = |value: Value| Ok(BASE64_STANDARD.decode(value.as_str().unwrap_or_default())?);
            let codec = Bytes("application/octet-stream".into());
            let shown = |value: Vec<u8>| json!(BASE64_STANDARD.encode(value));
            get_or_load(client, cache, key, load, &codec, bytes, shown).await
        }
        _ if call["codec"] == "json" => get_or_load(client, cache, key, load, &Json, Ok, |value| value).await,
        _ => get_or_load(client, cache, key, load, &Cbor, Ok, |value| value).await,
    })
}

async fn get_or_load<T, C: Codec<T>>(
    client: &Client,
    cache: &str,
    key: Key,
    load: Load,
    codec: &C,
    value_of: impl Fn(Value) -> Result<T, Failure>,
    show: impl Fn(T) -> Value,
) -> Value {
    let loader = |fill: Fill| async move {
        say(&json!({"load": true}))?;
        let turn = hear()?.ok_or("the runner is gone")?;
        if let Some(error) = turn["error"].as_str() {
            return Err(Failure::from(error));
        }
        let said = self::load(&turn["fill"]);
        said.depends.into_iter().for_each(|item| fill.depends_on(item));
        if let Some(position) = said.position {
            fill.position(position);
        }
        if let Some(age) = said.max_age {
            fill.max_age(age);
        }
        if let Some(times) = turn["repeat"].as_u64() {
            return Ok(Some(value_of(json!("x".repeat(usize::try_from(times)?)))?));
        }
        if turn["absent"] == true { Ok(None) } else { Ok(Some(value_of(turn["value"].clone())?)) }
    };
    match client.get_or_load_with(cache, key, load, codec, loader).await {
        Err(error) => json!({"error": error.to_string()}),
        Ok(mut found) => {
            let value = found.value.take();
            let mut said = shown(&found);
            said["value"] = value.map_or(Value::Null, show);
            said
        }
    }
}

async fn publish(client: &Client, cache: &str, call: &Value) -> Result<Value, Failure> {
    let list = |name: &str| call[name].as_array().into_iter().flatten();
    let key = |key: &Value| Key::of(key.as_array().into_iter().flatten().map(column));
    let mut publication = Publication::new();
    for item in list("put") {
        let (key, value) = (key(&item["key"]), &item["value"]);
        let ttl = Duration::from_secs_f64(item["ttl"].as_f64().unwrap_or_default());
        publication = match item["codec"].as_str() {
            _ if item["unencodable"] == true => {
                // JSON's names are texts.
                publication.put_with(key, &BTreeMap::from([(vec![1], 1)]), ttl, &Json)
            }
            Some("json") => publication.put_with(key, value, ttl, &Json),
            Some("bytes") => {
                let bytes = BASE64_STANDARD.decode(value.as_str().unwrap_or_default())?;
                publication.put_with(key, &bytes, ttl, &Bytes("application/octet-stream".into()))
            }
            _ => publication.put(key, value, ttl),
        };
    }
    publication = list("delete").map(key).fold(publication, Publication::delete);
    if call["clear"] == true {
        publication = publication.clear();
    }
    let failed = |failed: &str, why: PublishProblem| {
        let retry_after = why.retry_after.map(|after| after.as_secs());
        json!({"failed": failed, "problem": why.problem, "reason": why.detail, "retry_after": retry_after})
    };
    Ok(match client.publish(cache, publication).await {
        Ok(done) => {
            let start = done.start.duration_since(SystemTime::UNIX_EPOCH)?.as_millis();
            json!({
                "applied": done.applied,
                "start": u64::try_from(start)?,
                "publisher": done.publisher,
                "sequence": done.sequence,
            })
        }
        Err(PublishError::Unencodable(error)) => {
            json!({"failed": "mistake", "problem": "unencodable", "reason": error.to_string()})
        }
        Err(PublishError::Mistake(why)) => failed("mistake", why),
        Err(PublishError::Refused(why)) => failed("refused", why),
        Err(PublishError::Unavailable(why)) => failed("unavailable", why),
        Err(PublishError::Unknown(why)) => failed("unknown", why),
        Err(other) => return Err(other.into()),
    })
}

/// How many hits there are among as many reads at the same time.
async fn many(client: &Client, cache: &str, key: &Key, times: u64) -> Result<usize, Failure> {
    let reads: Vec<_> = (0..times)
        .map(|_| {
            let (client, cache, key) = (client.clone(), cache.to_owned(), key.clone());
            tokio::spawn(async move { client.get(&cache, &key, &Read::default()).await.status })
        })
        .collect();
    let mut hits = 0;
    for read in reads {
        hits += usize::from(read.await? == Status::Hit);
    }
    Ok(hits)
}

fn load(options: &Value) -> Load {
    let text = |name: &str| options[name].as_str().map(str::to_owned);
    let seconds = |name: &str| options[name].as_f64().map(Duration::from_secs_f64);
    let depends = options["depends"].as_array().into_iter().flatten();
    Load {
        read: Read {
            wait: seconds("wait"),
            min_position: text("min_position"),
            no_cache: options["no_cache"] == true,
        },
        depends: depends.map(dependency).collect(),
        position: text("position"),
        max_age: seconds("max_age"),
    }
}

fn dependency(item: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if let Some(words) = item["row"].as_array() {
        row(&text(&words[0]), Key::of(words[1..].iter().map(column)))
    } else if let Value::String(item) = item {
        item.clone()
    } else if item["tag"].is_array() {
        tag(&text(&item["tag"][0]))
    } else {
        table(&text(&item["table"][0]))
    }
}

fn shown<T>(found: &Answer<T>) -> Value {
    json!({
        "status": format!("{:?}", found.status).to_lowercase(),
        "detail": found.detail,
        "ttl": found.ttl,
        "age": found.age.map(|age| age.as_secs()),
        "position": found.position,
        "lease": found.lease,
        "fill": found.fill,
        "stored": found.stored.as_ref().map(|stored| word(stored, "stored")),
    })
}

fn word(outcome: &Outcome, done: &'static str) -> String {
    match outcome {
        Outcome::Done => done,
        Outcome::Fenced => "fenced",
        Outcome::Unavailable => "unavailable",
        Outcome::Refused(problem) => problem,
    }
    .to_owned()
}

fn column(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(integer) => integer["integer"].as_str().unwrap_or_default().to_owned(),
        other => other.to_string(),
    }
}

fn parameter(value: &Value) -> Parameter<'_> {
    match value {
        Value::String(text) => Parameter::Text(text),
        Value::Bool(truth) => Parameter::Bool(*truth),
        Value::Null => Parameter::Null,
        other => Parameter::Integer(
            other["integer"].as_str().and_then(|digits| digits.parse().ok()).unwrap_or_default(),
        ),
    }
}

fn say(message: &Value) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{message}")?;
    output.flush()
}

fn hear() -> Result<Option<Value>, Failure> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(if line.is_empty() { None } else { Some(serde_json::from_str(&line)?) })
}
