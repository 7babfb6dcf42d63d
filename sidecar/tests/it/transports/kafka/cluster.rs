//! Several brokers, each of which leads some partitions.

use std::time::{Duration, Instant};

use anyhow::ensure;
use freshet_e2e::process::{Kafka, Proxy, until};

use super::{super::CACHES, change};
use crate::shop::{App, SOON};

/// Two brokers of one cluster, a proxy before each, and a sidecar that follows a topic with this many partitions.
struct Cluster {
    brokers: [Kafka; 2],
    proxies: [Proxy; 2],
    app: App,
}

impl Cluster {
    fn open(replicas: &str, partitions: i32) -> Self {
        let nowhere = ([127, 0, 0, 1], 9).into();
        let proxies = [(), ()].map(|()| Proxy::start(nowhere).unwrap());
        let builder = |proxy: &Proxy| {
            Kafka::builder()
                .advertised(proxy.address())
                .set("default.replication.factor", replicas)
                // A broker that is gone has lost its partitions after this.
                .set("broker.session.timeout.ms", if replicas == "1" { "30000" } else { "6000" })
                .set("broker.heartbeat.interval.ms", "300")
        };
        let first = builder(&proxies[0]).start().unwrap();
        let second = builder(&proxies[1]).joins(&first).unwrap().start().unwrap();
        for (proxy, kafka) in proxies.iter().zip([&first, &second]) {
            proxy.point_to(kafka.address());
        }
        first.create_topic("shop.inventory.product", partitions, &[]).unwrap();
        let source = format!("kafka: {{brokers: ['{}'], topicPrefix: shop}}", proxies[0].address());
        let app = App::open(&source, CACHES, "");
        Self { brokers: [first, second], proxies, app }
    }

    /// A partition that this broker leads, from 0.
    fn led_by(&self, broker: usize) -> i32 {
        let leader = |partition: &i32| {
            let leader = self.brokers[0].leader("shop.inventory.product", *partition).unwrap();
            usize::try_from(leader).unwrap() == broker + 1
        };
        (0..8).find(leader).unwrap()
    }
}

#[test]
fn a_leader_that_is_silent_does_not_hold_up_the_others() {
    let mut cluster = Cluster::open("1", 8);
    let [here, there] = [0, 1].map(|broker| cluster.led_by(broker));
    let Cluster { brokers, proxies, app } = &mut cluster;
    change(&brokers[0], here, 1);
    change(&brokers[1], there, 2);
    app.until_applied(2);
    app.until_fills_last();
    app.fill("/v1/products/7", "x");
    let epoch = app.epoch();
    proxies[1].stall();
    change(&brokers[1], there, 7);
    app.until_get("/v1/products/7", "stale lagging");
    let (began, entries) = (Instant::now(), app.entries().unwrap());
    // Each of them would take as long as a reply may take, if the silent one were waited for.
    for number in 1..=20 {
        change(&brokers[0], here, 1);
        app.until_applied(entries + number);
    }
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    proxies[1].pass();
    app.until_get("/v1/products/7", "miss");
    app.until_fresh();
    assert_eq!((app.epoch(), app.breaks()), (epoch, vec![]));
}

#[test]
fn what_another_broker_leads_from_now_on_is_read_from_it() {
    let mut cluster = Cluster::open("2", 2);
    let moving = cluster.led_by(1);
    let Cluster { brokers, app, .. } = &mut cluster;
    change(&brokers[1], moving, 1);
    app.until_applied(1);
    app.until_fills_last();
    for path in ["/v1/products/7", "/v1/products/8", "/v1/products/9"] {
        app.fill(path, "x");
    }
    let epoch = app.epoch();
    // In an orderly way: it hands over first.
    brokers[1].stop().unwrap();
    change(&brokers[0], moving, 7);
    app.until_get("/v1/products/7", "miss");
    app.until_fresh();
    brokers[1].restart().unwrap();
    change(&brokers[0], moving, 8);
    app.until_get("/v1/products/8", "miss");
    app.until_fresh();
    assert_eq!(app.get("/v1/products/9"), "hit x");
    assert_eq!((app.epoch(), app.breaks()), (epoch, vec![]));
}

#[test]
fn a_leader_that_dies_has_a_successor() {
    let mut cluster = Cluster::open("2", 2);
    let [staying, dying] = [0, 1].map(|broker| cluster.led_by(broker));
    let Cluster { brokers, app, .. } = &mut cluster;
    change(&brokers[1], dying, 1);
    app.until_applied(1);
    app.until_fills_last();
    app.fill("/v1/products/7", "x");
    app.fill("/v1/products/9", "x");
    let (epoch, entries) = (app.epoch(), app.entries().unwrap());
    brokers[1].kill().unwrap();
    until("the other broker leads", 2 * SOON, || {
        let leader = brokers[0].leader("shop.inventory.product", dying)?;
        ensure!(leader == 1, "{leader}");
        Ok(())
    })
    .unwrap();
    change(&brokers[0], staying, 1);
    app.until_applied(entries + 1);
    change(&brokers[0], dying, 7);
    app.until_get("/v1/products/7", "miss");
    app.until_fresh();
    assert_eq!(app.get("/v1/products/9"), "hit x");
    assert_eq!((app.epoch(), app.breaks()), (epoch, vec![]));
}
