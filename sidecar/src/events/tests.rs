use std::collections::BTreeSet;

use super::{Cause, Events, Filter, Lost, OVERHEAD, Place, Voided};

fn voided(cache: &str, key: Option<&str>) -> Voided {
    Voided { source: Some("cdc".into()), cache: cache.into(), key: key.map(str::to_owned), on: None }
}

fn tell(events: &Events, key: &str) {
    events.tell(Cause::Dropped, &mut vec![voided("products", Some(key))]);
}

/// The keys of the events behind a place.
fn keys(events: &Events, place: Place, filter: &Filter) -> Result<Vec<String>, Lost> {
    let (text, _) = events.read(place, filter)?;
    let text = std::str::from_utf8(&text).unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let data = data.map(|data| serde_json::from_str::<serde_json::Value>(data).unwrap());
    Ok(data.map(|data| data["key"].as_str().unwrap_or("*").to_owned()).collect())
}

#[test]
fn one_event_tells_of_a_row_in_all_its_caches() {
    let events = Events::default();
    let start = events.end();
    let mut of_one_change = vec![
        voided("pages", None),
        voided("rows", Some("7")),
        voided("products", Some("7")),
        voided("products", Some("7")),
        voided("by-sku", Some("a%2Fb/c")),
    ];
    events.tell(Cause::Dropped, &mut of_one_change);
    assert!(of_one_change.is_empty());
    let (text, place) = events.read(start, &Filter::default()).unwrap();
    let text = String::from_utf8(text.to_vec()).unwrap();
    let datas: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(datas.len(), 3, "{text}");
    let data: serde_json::Value = serde_json::from_str(datas[1]).unwrap();
    assert_eq!(data["caches"], serde_json::json!(["products", "rows"]));
    assert_eq!((place, events.count()), (Place(3), 3));
    assert_eq!(events.mark(place), format!("id: {:016x}-3\n\n", events.instance));
}

#[test]
fn who_comes_back_reads_on_where_it_was() {
    let events = Events::default();
    for key in ["1", "2", "3"] {
        tell(&events, key);
    }
    let id = |number: u64| format!("{:016x}-{number}", events.instance);
    let on =
        |number| events.place(&id(number)).map(|place| keys(&events, place, &Filter::default()).unwrap());
    assert_eq!(on(1).unwrap(), ["2", "3"]);
    assert!(on(3).unwrap().is_empty());
    assert_eq!(on(4), Err(Lost::Instance), "an event that never was");
    for foreign in ["", "3", "-", "x-3", &format!("{:016x}-3", !events.instance), &id(3).to_uppercase()[1..]]
    {
        assert_eq!(events.place(foreign), Err(Lost::Instance), "{foreign}");
    }
}

#[test]
fn the_log_is_bounded_and_says_what_it_has_lost() {
    let one = |key: &str| {
        let events = Events::default();
        tell(&events, key);
        events.log().bytes
    };
    let events = Events::new(one("1") * 3 + OVERHEAD);
    let start = events.end();
    for key in 1..=9 {
        tell(&events, &key.to_string());
    }
    assert_eq!(events.log().held.len(), 3);
    assert_eq!(events.read(start, &Filter::default()), Err(Lost::Slow));
    assert_eq!(events.place(&format!("{:016x}-5", events.instance)), Err(Lost::Expired));
    let oldest = events.place(&format!("{:016x}-6", events.instance)).unwrap();
    assert_eq!(keys(&events, oldest, &Filter::default()).unwrap(), ["7", "8", "9"]);
    let (text, place) = events.reset(Lost::Slow, &BTreeSet::from(["products".to_owned()]));
    assert!(text.starts_with(format!("id: {:016x}-9\nevent: reset\ndata: ", events.instance).as_bytes()));
    assert_eq!(keys(&events, place, &Filter::default()).unwrap(), [""; 0], "it goes on at the end");
    assert_eq!(events.stats.resets().collect::<Vec<_>>(), [("instance", 0), ("expired", 0), ("slow", 1)]);
}

#[test]
fn a_filter_passes_over_other_caches_events() {
    let events = Events::default();
    let start = events.end();
    let filter = Filter(BTreeSet::from(["pages".to_owned(), "stock".to_owned()]));
    tell(&events, "1");
    events.tell(Cause::Epoch, &mut vec![voided("products", None), voided("stock", None)]);
    tell(&events, "2");
    assert_eq!(keys(&events, start, &filter).unwrap(), ["*"]);
    let (_, place) = events.read(start, &filter).unwrap();
    assert_eq!(place, events.end(), "what was passed over isn't looked at again");
}

#[test]
fn much_is_handed_over_in_pieces() {
    let events = Events::default();
    let (mut place, key) = (events.end(), "x".repeat(1000));
    for _ in 0..200 {
        tell(&events, &key);
    }
    let (mut pieces, mut read) = (0, 0);
    while place != events.end() {
        let (text, next) = events.read(place, &Filter::default()).unwrap();
        assert!(text.len() < super::PIECE + 2000);
        (place, pieces, read) = (next, pieces + 1, read + text.len());
    }
    assert!(pieces > 2 && read > 200_000, "{pieces} pieces of {read} bytes");
}
