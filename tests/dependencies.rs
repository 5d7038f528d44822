//! What the program is built from: licences that anybody may ship, and no crate twice without a
//! reason.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Licences that may be part of a binary under MIT or Apache-2.0.
const LICENCES: [&str; 10] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
];

/// Crates under other licences, and why that is well.
const EXCEPTIONS: [(&str, &str, &str); 1] =
    [("colored", "MPL-2.0", "binds only who changes its own files; the log's colours")];

/// Crates of which there are several versions, and who needs the older. None is ours to choose;
/// a name that is no longer needed here must go.
const TWICE: [(&str, &str); 5] = [
    ("getrandom", "0.2 by ring, 0.3 by rand_core 0.9"),
    ("rand", "0.9 by sctp-proto, which str0m uses for data channels"),
    ("rand_chacha", "0.9 by rand 0.9"),
    ("rand_core", "0.9 by rand 0.9"),
    ("syn", "2 by procedural macros that have not moved to 3; only while building"),
];

struct Package {
    name: String,
    version: String,
    licence: String,
}

fn packages() -> Vec<Package> {
    let edges = ["tree", "--locked", "--edges", "normal,build", "--prefix", "none"];
    let output = Command::new(env!("CARGO"))
        .args(edges)
        .args(["--format", "{p}|{l}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let lines: BTreeSet<&str> =
        text.lines().map(|l| l.trim_end_matches(" (*)")).filter(|l| !l.is_empty()).collect();
    let package = |line: &&str| {
        let (package, licence) = line.split_once('|').expect("as the format says");
        let mut words = package.split(' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        Package { name: word(), version: word(), licence: licence.to_owned() }
    };
    let packages: Vec<Package> = lines.iter().map(package).collect();
    assert!(packages.len() > 50, "the tree was read");
    packages
}

/// Whether one can choose allowed licences only. An SPDX expression with AND above OR, as far as
/// the crates of this tree use it.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let mut depth = 0;
    let mut terms = vec![String::new()];
    for word in expression.replace('(', " ( ").replace(')', " ) ").split_whitespace() {
        match word {
            "(" => depth += 1,
            ")" => depth -= 1,
            "AND" if depth == 0 => terms.push(String::new()),
            word => {
                let term = terms.last_mut().expect("begins with one");
                *term += word;
                term.push(' ');
            }
        }
    }
    assert_eq!(depth, 0, "{expression}");
    terms.iter().all(|term| match term.contains(" AND ") {
        true => term.split(" OR ").any(is_allowed),
        false => term.split(" OR ").any(|choice| LICENCES.contains(&choice.trim())),
    })
}

#[test]
fn licences_let_anybody_ship_the_binary() {
    let wrong: Vec<String> = packages()
        .iter()
        .filter(|p| !is_allowed(&p.licence))
        .filter(|p| !EXCEPTIONS.iter().any(|(name, l, _)| p.name == *name && p.licence == *l))
        .map(|p| format!("{} {}: {:?}", p.name, p.version, p.licence))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_crate_is_there_twice_without_a_reason() {
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in packages() {
        versions.entry(package.name).or_default().push(package.version);
    }
    versions.retain(|_, v| v.len() > 1);
    let found: Vec<&str> = versions.keys().map(String::as_str).collect();
    let known: Vec<&str> = TWICE.iter().map(|(name, _)| *name).collect();
    assert_eq!(found, known, "{versions:?}");
}

#[test]
fn these_rules_can_fail() {
    assert!(is_allowed("MIT OR GPL-3.0"));
    assert!(is_allowed("(MIT OR GPL-3.0) AND ISC"));
    assert!(is_allowed("MIT/Apache-2.0"));
    assert!(!is_allowed("GPL-3.0"));
    assert!(!is_allowed("MIT AND GPL-3.0"));
    assert!(!is_allowed(""));
}
