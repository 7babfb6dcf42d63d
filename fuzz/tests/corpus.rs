//! Every input that was ever found worth keeping, replayed.

use std::{
    fs,
    panic::catch_unwind,
    path::{Path, PathBuf},
};

use freshet_fuzz::TARGETS;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

#[test]
fn every_property_holds_for_the_corpus_and_its_seeds() {
    let (mut inputs, mut failed) = (0, Vec::new());
    for target in TARGETS {
        let folder = corpus().join(target.name);
        let files = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let files = files.map(|file| file.unwrap().path());
        let files = files.map(|path| (path.display().to_string(), fs::read(&path).unwrap()));
        let seeds = (target.seeds)().into_iter().enumerate();
        let seeds = seeds.map(|(i, seed)| (format!("seed {i} of {}", target.name), seed));
        for (name, input) in files.chain(seeds) {
            inputs += 1;
            failed.extend(catch_unwind(|| (target.run)(&input)).is_err().then_some(name));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(inputs > 100, "{inputs} inputs: where is the corpus?");
}

#[test]
fn every_corpus_and_dictionary_belongs_to_a_target_and_all_is_small() {
    let mut bytes = 0;
    for folder in ["corpus", "dictionaries"] {
        for entry in fs::read_dir(corpus().with_file_name(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(TARGETS.iter().any(|target| target.name == name), "{folder}/{name} belongs to no target");
        }
    }
    for target in TARGETS {
        for file in fs::read_dir(corpus().join(target.name)).unwrap() {
            bytes += file.unwrap().metadata().unwrap().len();
        }
    }
    assert!(bytes < 2 << 20, "the corpus has {bytes} bytes: distill it (cargo xtask fuzz --distill)");
}
