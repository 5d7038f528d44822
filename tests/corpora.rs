//! The fuzz targets' corpora (`fuzz/README.md`), replayed without libFuzzer: what was once worth
//! an input still holds.
#![allow(clippy::indexing_slicing, clippy::expect_used, clippy::unwrap_used, clippy::panic)]

#[path = "../fuzz/checks/mod.rs"]
mod checks;

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// What a folder holds, in the order of names.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("a readable entry").path()).collect();
    paths.sort();
    paths
}

#[test]
fn every_corpus_holds() {
    let mut broken = Vec::new();
    for (target, check) in checks::TARGETS {
        let inputs = entries(&fuzz().join("corpus").join(target));
        assert!(inputs.len() >= 5, "{target} has {} inputs", inputs.len());
        for input in inputs {
            let bytes = fs::read(&input).expect("a readable input");
            if catch_unwind(|| check(&bytes)).is_err() {
                broken.push(input.display().to_string());
            }
        }
    }
    assert!(broken.is_empty(), "these inputs break their target:\n{}", broken.join("\n"));
}

#[test]
fn every_target_is_replayed() {
    let named = |folder: &str| -> Vec<String> {
        let paths = entries(&fuzz().join(folder));
        paths.iter().map(|p| p.file_stem().unwrap().to_string_lossy().into_owned()).collect()
    };
    let targets: Vec<String> = checks::TARGETS.iter().map(|(name, _)| (*name).into()).collect();
    assert_eq!(named("fuzz_targets"), targets);
    assert_eq!(named("corpus"), targets);
}

#[test]
fn corpora_stay_small() {
    let mut all = 0;
    for (target, _) in checks::TARGETS {
        for input in entries(&fuzz().join("corpus").join(target)) {
            let size = fs::metadata(&input).expect("a readable input").len();
            assert!(size <= 64 * 1024, "{}: {size} bytes", input.display());
            all += size;
        }
    }
    assert!(all <= 1024 * 1024, "{all} bytes of corpora");
}
