//! What Redis doesn't take from Debezium's sink, for whatever reason: its entries come after all, or their loss is
//! noticed. Debezium's start is most of what takes time here, so one pipeline goes through all causes.

use std::{fs, path::Path, time::Duration};

use anyhow::{Result, bail, ensure};
use freshet_e2e::process::{
    Debezium, Postgres, Redis, Sidecar,
    debezium::{Heartbeat, Settings},
    until,
};

use crate::shop::{SOON, Shop, executable, manifest};

/// Why Redis refuses entries.
struct Cause {
    /// The word that its answers begin with.
    code: &'static str,
    begin: fn(&Redis, &str),
    end: fn(&Redis, &str),
    /// What Debezium does meanwhile.
    debezium: Meanwhile,
}

enum Meanwhile {
    /// It takes errors for success, and has the change behind it.
    GoesOn,
    /// It can't keep its position, either, and tries that again and again.
    Retries,
    /// It ends; whoever runs it starts it again.
    Ends,
    /// It sees that there is no room, and waits.
    Waits,
}

const CAUSES: [Cause; 5] = [
    Cause {
        code: "NOPERM",
        begin: |redis, _| tell(redis, &["ACL", "SETUSER", "default", "-xadd"]),
        end: |redis, _| tell(redis, &["ACL", "SETUSER", "default", "+xadd"]),
        debezium: Meanwhile::GoesOn,
    },
    Cause {
        code: "WRONGTYPE",
        begin: |redis, stream| {
            tell(redis, &["RENAME", stream, "aside"]);
            tell(redis, &["SET", stream, "no stream"]);
        },
        end: |redis, stream| tell(redis, &["RENAME", "aside", stream]),
        debezium: Meanwhile::GoesOn,
    },
    // A server that was demoted, of a master that isn't there.
    Cause {
        code: "READONLY",
        begin: |redis, _| tell(redis, &["REPLICAOF", "127.0.0.1", "1"]),
        end: |redis, _| tell(redis, &["REPLICAOF", "NO", "ONE"]),
        debezium: Meanwhile::Retries,
    },
    // Its disk doesn't take what it saves: there is a folder where the file should be.
    Cause {
        code: "MISCONF",
        begin: |redis, _| {
            let folder: Vec<String> = redis.command(&["CONFIG", "GET", "dir"]).unwrap();
            fs::create_dir_all(Path::new(&folder[1]).join("blocked/full")).unwrap();
            tell(redis, &["CONFIG", "SET", "save", "3600 1"]);
            tell(redis, &["BGSAVE"]);
            until("saving fails", SOON, || {
                let last = redis.info("persistence", "rdb_last_bgsave_status")?;
                ensure!(last == "err", "{last}");
                Ok(())
            })
            .unwrap();
        },
        end: |redis, _| tell(redis, &["CONFIG", "SET", "save", ""]),
        debezium: Meanwhile::Ends,
    },
    // There is room, and less than the sink wants; later there is none.
    Cause {
        code: "OOM",
        begin: |redis, _| {
            let used: u64 = redis.info("memory", "used_memory").unwrap().parse().unwrap();
            tell(redis, &["CONFIG", "SET", "maxmemory", &(used + 150_000).to_string()]);
        },
        end: |redis, _| tell(redis, &["CONFIG", "SET", "maxmemory", "0"]),
        debezium: Meanwhile::Waits,
    },
];

#[test]
fn what_redis_refuses_comes_after_all_or_is_noticed() {
    let postgres = Postgres::start().unwrap();
    let redis = Redis::builder().set("dbfilename", "blocked").start().unwrap();
    postgres
        .execute("CREATE SCHEMA inventory; CREATE TABLE inventory.product (id int PRIMARY KEY, name text)")
        .unwrap();
    postgres.execute("INSERT INTO inventory.product VALUES (1, 'hammer'), (2, 'saw')").unwrap();
    let settings = Settings::default().heartbeat(Heartbeat::Both, Duration::from_secs(1));
    let (stream, slot) = (settings.stream("inventory.product"), settings.slot());
    let mut debezium = Debezium::start(settings, &postgres, &redis).unwrap();
    let caches = "\n  - {name: products, table: inventory.product}";
    let text = manifest(&redis, caches, "  freshness: {maxStaleness: 5s, heartbeat: Database, readLag: 0s}");
    let text = text.replacen("topicPrefix: shop", &format!("stream: {stream}"), 1);
    let mut shop = Shop::with(redis, Sidecar::builder(executable(), &text));
    for Cause { code, begin, end, debezium: meanwhile } in &CAUSES {
        shop.until_fresh();
        shop.until_fills_last();
        until_numbers_are_known(&mut shop);
        shop.fill("/v1/products/1", "hammer");
        let (epoch, logged) = (shop.epoch(), debezium.log().len());
        begin(&shop.redis, &stream);
        let update = format!("UPDATE inventory.product SET name = '{code}' WHERE id = 1");
        postgres.execute(&update).unwrap();
        match meanwhile {
            Meanwhile::GoesOn => until_passed(&postgres, &slot),
            Meanwhile::Retries => until("positions are refused", SOON, || {
                ensure!(debezium.log()[logged..].contains(code), "{}", debezium.log());
                Ok(())
            })
            .unwrap(),
            Meanwhile::Ends => {
                debezium.process().wait(SOON).unwrap();
            }
            Meanwhile::Waits => {
                until("the sink waits", 8 * SOON, || {
                    if !debezium.log()[logged..].contains("Stopped consuming records") {
                        // What it uses goes up and down, and is as much as there is room for soon after this.
                        begin(&shop.redis, &stream);
                        bail!("it doesn't");
                    }
                    Ok(())
                })
                .unwrap();
                until("nothing comes any more", SOON, || {
                    let found = shop.get_now("/v1/products/1");
                    if found != "stale lagging" {
                        // So that it finds no room meanwhile.
                        begin(&shop.redis, &stream);
                        bail!("{found}");
                    }
                    Ok(())
                })
                .unwrap();
                // A full Redis takes no transactions, not even of a sidecar's that only reads.
                tell(&shop.redis, &["CONFIG", "SET", "maxmemory", "1mb"]);
                shop.until_reason("OOM");
                shop.until_get("/v1/products/1", "stale disconnected");
            }
        }
        end(&shop.redis, &stream);
        if matches!(meanwhile, Meanwhile::Ends) {
            debezium.restart(&postgres).unwrap();
        }
        // Whatever is served as fresh from here on knows of the change, or of the loss.
        let Shop { redis, app } = &mut shop;
        app.sidecar
            .until("the change or its loss is known", SOON, |sidecar| {
                let status = sidecar.status()?;
                let source = &status["sources"]["cdc"];
                let known = came(redis, &stream, code)? || source["epoch"].as_u64() > Some(epoch);
                ensure!(known && source["state"] == "Fresh", "{source}");
                Ok(())
            })
            .unwrap();
        shop.until_get("/v1/products/1", "miss");
        assert!(
            shop.redis.info("errorstats", &format!("errorstat_{code}")).is_ok(),
            "it was refused for {code}"
        );
        let (came, breaks) = (came(&shop.redis, &stream, code).unwrap(), shop.epoch() - epoch);
        match meanwhile {
            Meanwhile::GoesOn => assert!(!came && breaks > 0, "{code}: {:?}", shop.breaks()),
            Meanwhile::Retries => assert!(breaks > 0, "{code}: another server may have been it meanwhile"),
            Meanwhile::Ends | Meanwhile::Waits => assert!(came && breaks == 0, "{code}: {:?}", shop.breaks()),
        }
    }
    // Debezium's numbers alone show what was lost while Redis itself stayed as it was.
    let breaks = shop.breaks();
    assert!(breaks.iter().any(|why| why.ends_with("-missed")), "{breaks:?}");
    assert!(breaks.contains(&"server-changed".into()), "{breaks:?}");
}

fn tell(redis: &Redis, words: &[&str]) {
    redis.command::<String>(words).unwrap();
}

/// Waits for two heartbeats of four entries each: an epoch's first numbers begin the account, and a loss before them voids
/// everything without another epoch.
fn until_numbers_are_known(shop: &mut Shop) {
    let entries = |sidecar: &Sidecar| -> Result<u64> {
        Ok(sidecar.status()?["sources"]["cdc"]["entries"].as_u64().unwrap_or(0))
    };
    let before = entries(&shop.sidecar).unwrap();
    shop.sidecar
        .until("two heartbeats", SOON, |sidecar| {
            let now = entries(sidecar)?;
            ensure!(now >= before + 8, "{now} entries after {before}");
            Ok(())
        })
        .unwrap();
}

/// Waits until Debezium has told the database that it needs nothing up to here any more.
fn until_passed(postgres: &Postgres, slot: &str) {
    let now = postgres.query("SELECT pg_current_wal_lsn()").unwrap()[0][0].clone().unwrap();
    let passed =
        format!("SELECT confirmed_flush_lsn >= '{now}' FROM pg_replication_slots WHERE slot_name = '{slot}'");
    until("Debezium has passed the change", SOON, || {
        let rows = postgres.query(&passed)?;
        ensure!(rows[0][0].as_deref() == Some("t"), "{rows:?}");
        Ok(())
    })
    .unwrap();
}

/// Whether the row of this name has come into the stream.
fn came(redis: &Redis, stream: &str, name: &str) -> Result<bool> {
    let entries: Vec<(String, Vec<String>)> = redis.command(&["XRANGE", stream, "-", "+"])?;
    let value = format!("\"name\":\"{name}\"");
    Ok(entries.iter().any(|(_, fields)| fields.iter().any(|field| field.contains(&value))))
}
