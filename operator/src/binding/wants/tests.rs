use freshet_crds::CacheBinding;
use kube::core::{DeserializeGuard, error_boundary::InvalidObject};
use serde_json::json;

use super::*;
use crate::binding::{build::build, dereference::Found, validate::validate};

/// A binding that follows `stream` and keeps entries for a week.
fn shop(stream: &str) -> CacheBinding {
    let text = include_str!("../../../../crds/tests/shop.yaml");
    let layout = format!("stream: {stream}\n      retention: 7d");
    let mut binding = manifest::read(&text.replace("topicPrefix: shop", &layout)).unwrap().object;
    binding.metadata.namespace = Some("default".into());
    binding.metadata.uid = Some("1".into());
    binding.metadata.generation = Some(3);
    binding
}

fn unreadable() -> Guarded {
    DeserializeGuard(Err(InvalidObject { error: "no".into(), metadata: shop("x").metadata }))
}

fn validated(binding: &CacheBinding) -> Validated {
    validate(binding, Found::default()).unwrap()
}

fn rendered(binding: &CacheBinding) -> ConfigMap {
    build(&validated(binding), "1")
}

/// `stream retention` of each want; `None`: they aren't known.
fn wanted(ledger: &Ledger) -> Option<Vec<String>> {
    Some(
        ledger
            .wanted("1")?
            .into_iter()
            .map(|want| format!("{:?} {:?}", want.streams, want.retention))
            .collect(),
    )
}

const HOLDS: &str = "{\"shop.cdc\"} None";
const WEEK: &str = "{\"shop.cdc\"} Some(604800s)";

/// The replica that led before may have known what it wants, we don't: what was rendered doesn't say.
#[test]
fn a_rejected_binding_holds_what_was_rendered_also_before_a_new_leader() {
    let config_map = rendered(&shop("shop.cdc"));
    let mut broken = shop("shop.cdc");
    broken.spec.caches[0].ttl = "0s".into();
    let broken = DeserializeGuard(Ok(broken));
    let no = Rejected::RenderFailed("no".into());
    for object in [&unreadable(), &broken] {
        let ledger = Ledger::default();
        tell(&ledger, object, Err(&no), Some(&config_map));
        assert_eq!(wanted(&ledger).unwrap(), [HOLDS]);
        let ledger = Ledger::default();
        tell(&ledger, object, Err(&no), None);
        assert_eq!(wanted(&ledger).unwrap(), [""; 0], "nothing was rendered");
    }
    // Its ConfigMap is someone else's by now, and its sidecars keep to what they have read.
    let mut theirs = config_map.clone();
    theirs.metadata.owner_references = None;
    let ledger = Ledger::default();
    let object = DeserializeGuard(Ok(shop("shop.cdc")));
    tell(&ledger, &object, Err(&Rejected::ConfigMapTaken("x".into())), Some(&theirs));
    assert_eq!(wanted(&ledger).unwrap(), [HOLDS]);
}

#[test]
fn a_rejected_binding_wants_what_it_wanted() {
    let (ledger, binding) = (Ledger::default(), shop("shop.cdc"));
    tell_rendered(&ledger, &DeserializeGuard(Ok(binding.clone())), &validated(&binding));
    tell(&ledger, &unreadable(), Err(&Rejected::Unreadable("no".into())), Some(&rendered(&binding)));
    assert_eq!(wanted(&ledger).unwrap(), [WEEK]);
}

/// Until a change is rendered, and if that is refused, sidecars follow what was.
#[test]
fn what_was_rendered_is_held_until_it_is_rendered_anew() {
    let (ledger, binding) = (Ledger::default(), shop("shop.new"));
    let (object, valid) = (DeserializeGuard(Ok(binding.clone())), validated(&binding));
    let config_map = rendered(&shop("shop.cdc"));
    tell(&ledger, &object, Ok(&valid), Some(&config_map));
    assert_eq!(wanted(&ledger).unwrap(), ["{\"shop.new\"} Some(604800s)", HOLDS]);
    tell(&ledger, &object, Err(&Rejected::RenderFailed("no".into())), Some(&config_map));
    assert_eq!(wanted(&ledger).unwrap().len(), 2);
    tell_rendered(&ledger, &object, &valid);
    assert_eq!(wanted(&ledger).unwrap().len(), 1);
    // The same stream elsewhere is another one.
    let mut moved = shop("shop.cdc");
    moved.spec.sources[0].redis_stream.as_mut().unwrap().url = Some("redis://elsewhere".into());
    let ledger = Ledger::default();
    tell(&ledger, &DeserializeGuard(Ok(moved.clone())), Ok(&validated(&moved)), Some(&config_map));
    assert_eq!(wanted(&ledger).unwrap(), [WEEK, HOLDS]);
    // With nothing but another retention, nothing is left behind.
    let same = shop("shop.cdc");
    let ledger = Ledger::default();
    tell(&ledger, &DeserializeGuard(Ok(same.clone())), Ok(&validated(&same)), Some(&config_map));
    assert_eq!(wanted(&ledger).unwrap(), [WEEK]);
}

#[test]
fn what_cannot_be_read_may_follow_anything() {
    let mut spoilt = rendered(&shop("shop.cdc"));
    let text = spoilt.data.as_mut().unwrap().get_mut(names::MANIFEST_FILE).unwrap();
    let newer = text.replace("stream: shop.cdc", "stream: shop.cdc\n      pattern: shop.*");
    assert_ne!(*text, newer);
    for text in [newer.as_str(), "spoilt"] {
        let data = json!({ names::MANIFEST_FILE: text });
        spoilt.data = serde_json::from_value(data).unwrap();
        let ledger = Ledger::default();
        tell(&ledger, &unreadable(), Err(&Rejected::Unreadable("no".into())), Some(&spoilt));
        assert_eq!(wanted(&ledger), None, "{text}");
    }
    let binding = shop("shop.cdc");
    let ledger = Ledger::default();
    tell(&ledger, &DeserializeGuard(Ok(binding.clone())), Ok(&validated(&binding)), Some(&spoilt));
    assert_eq!(wanted(&ledger), None, "until it is rendered anew");
}
