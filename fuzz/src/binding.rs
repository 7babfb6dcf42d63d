//! Binding files, by hand and rendered: read or refused, in bounded time and memory.

use freshet_crds::{
    binding::{Binding, MEMORY},
    manifest,
    names::RENDERED_BY,
    quantity::MAX_DURATION,
};
use freshet_sidecar::catalog::Catalog;

use crate::Bound;

/// What a byte of a manifest may cost. A value of a list takes two bytes of text and some hundred when read, several
/// times over.
const FACTOR: usize = 1024;

/// Reads it as it is, checks what was read, and builds what would run.
pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let bound = Bound::of(FACTOR, input);
    let Ok(manifest) = manifest::read(text) else { return };
    let binding = manifest.binding();
    drop(bound);
    let rendered = manifest.rendered_by.is_some();
    assert!(!rendered || text.contains(RENDERED_BY) || text.contains('\\'), "nobody rendered it");
    if !rendered {
        assert_eq!(manifest.newer, manifest::Newer::default(), "by hand nothing unknown is accepted");
    }
    let Ok(binding) = binding else { return };
    check(&binding, &manifest);
    let _ = Catalog::build(binding, manifest.newer, None);
}

fn check(binding: &Binding, manifest: &manifest::Manifest) {
    assert!((1..=52).contains(&binding.name.len()));
    assert!(MEMORY.contains(&binding.memory));
    assert!(binding.sidecar.max_value <= binding.memory);
    assert!(binding.sources.len() <= 8 && binding.caches.len() <= 64);
    for cache in &binding.caches {
        assert!(cache.source < binding.sources.len());
        assert!(cache.table.is_some() || !cache.depends_on.is_empty());
        assert!(!cache.ttl.is_zero() && cache.ttl <= MAX_DURATION);
        assert!(!manifest.newer.caches.contains(&cache.name), "{} is off", cache.name);
    }
    // What the operator would render of it reads the same.
    let again = serde_json::to_string(&manifest.object).expect("a binding is plain data");
    let again = manifest::read(&again).expect("what was read can be read again");
    assert_eq!(again.object.spec, manifest.object.spec);
}

/// The examples, each that is refused, rendered and not, and what makes readers of YAML suffer.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    const SHOP: &str = include_str!("../../crds/tests/shop.yaml");
    const BAD: &str = include_str!("../../crds/tests/bad-bindings.yaml");
    const EXAMPLE: &str = include_str!("../../examples/shop/00-binding.yaml");
    let mut seeds = vec![SHOP.to_owned(), EXAMPLE.to_owned()];
    for line in BAD.lines().filter_map(|line| line.strip_prefix("- {replace: ")) {
        // The file's texts are JSON where they are quoted, and end at a comma where not.
        let mut texts = line.split(", by: ");
        let [Some(old), Some(rest)] = [texts.next(), texts.next()] else { continue };
        let new = rest.split(", says: ").next().unwrap_or_default();
        let text =
            |quoted: &str| serde_json::from_str::<String>(quoted).unwrap_or_else(|_| quoted.to_owned());
        seeds.push(SHOP.replacen(&text(old), &text(new), 1));
    }
    let annotated = |text: &str| {
        text.replacen("metadata:", &format!("metadata:\n  annotations: {{{RENDERED_BY}: 9.9.9}}"), 1)
    };
    let rendered: Vec<_> = seeds.iter().map(|text| annotated(text)).collect();
    seeds.extend(rendered);
    let newer = SHOP
        .replace("ttl: 10m", "ttl: 10m\n    unheard: {of: [1, two]}")
        .replace("memory:", "else: 1\n  memory:");
    seeds.push(annotated(&newer));
    seeds.push(newer);
    seeds.push(annotated(&SHOP.replace("ttl: 10m", "ttl: [10m]")));
    seeds.push(SHOP.replace(
        "dependsOn: [inventory.product, inventory.category]",
        "dependsOn: &a [&b inventory.product, *b, *b]\n    x: *a",
    ));
    seeds.push(format!("a: &a {}\nb: [{}]", "x".repeat(9000), "*a,".repeat(1000)));
    seeds.push(format!("a: {}", "[".repeat(2000)));
    seeds.push(format!("a: {}", "{a: ".repeat(2000)));
    seeds.push("- ".repeat(2000));
    seeds.push(format!("{SHOP}\nx: &a [b,b,b,b,b,b,b,b]\ny: &b [*a,*a,*a,*a,*a]\nz: [*b,*b,*b,*b,*b]\n"));
    seeds.push(format!(
        "{SHOP}\nx: &a !t [1e999, 0x7fffffffffffffffff, -9223372036854775809, .inf, ~]\n? [*a]\n: |-\n  x\n"
    ));
    seeds.push("---\na: 1\n---\nb: 2\n".into());
    seeds.push(
        "{\"apiVersion\":\"freshet.dev/v1alpha1\",\"kind\":\"CacheBinding\",\"metadata\":null,\"spec\":{}}"
            .into(),
    );
    seeds.into_iter().map(String::into_bytes).collect()
}
