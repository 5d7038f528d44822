//! The house rules, read off the source: imports go down only, cores touch nothing of the world,
//! `unsafe` stands in one file, and rooms stay small.

use std::fs;
use std::path::{Path, PathBuf};

/// Floors, lowest first. A module imports from lower floors, and from itself.
const FLOORS: [&[&str]; 7] = [
    &["base"],
    &["wire"],
    &["media"],
    &["room"],
    &["worker", "gate", "config"],
    &["shell"],
    &["main", "lib"],
];

/// What only the shell (and the program around it) may do.
const WORLD: [&str; 12] = [
    "Instant::now",
    "SystemTime",
    "thread::",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "std::fs",
    "std::env",
    "Mutex",
    "RwLock",
    "getrandom",
    "mio::",
];

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// Files and functions that are longer than they should be, with the length that they may have.
/// Numbers here only go down.
const LONG_FILES: [(&str, usize); 0] = [];
const LONG_FUNCTIONS: [(&str, usize); 0] = [];

struct Source {
    path: PathBuf,
    /// The top-level module.
    module: String,
    /// Without its tests.
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                if path.file_name().is_some_and(|n| n != "tests") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|e| e == "rs") {
                let relative = path.strip_prefix(&root).expect("below src");
                if relative.file_stem().is_some_and(|s| s == "tests") {
                    continue;
                }
                let first = relative.components().next().expect("a name").as_os_str();
                let module = first.to_string_lossy().trim_end_matches(".rs").to_string();
                let text = fs::read_to_string(&path).expect("UTF-8");
                let text =
                    text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default().to_string();
                found.push(Source { path: relative.to_path_buf(), module, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 20, "the walk found the source");
    found
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// Lines of code: neither comments nor the insides of documentation.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate();
    lines.filter(|(_, l)| !l.trim_start().starts_with("//")).map(|(i, l)| (i + 1, l))
}

/// Modules named by `crate::x` in a line, and by `trackyard::x` in main.
fn named(line: &str) -> Vec<&str> {
    let after = line.split("crate::").skip(1).chain(line.split("trackyard::").skip(1));
    after
        .map(|rest| {
            rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
        })
        .collect()
}

#[test]
fn every_module_has_a_floor() {
    for source in sources() {
        assert!(floor(&source.module).is_some(), "{} stands on no floor", source.path.display());
    }
}

#[test]
fn imports_go_down_only() {
    let mut wrong = Vec::new();
    for source in sources() {
        let own = floor(&source.module).expect("checked above");
        for (number, line) in code(&source.text) {
            assert!(
                !line.contains("crate::{"),
                "one use line a module, so that this test reads it"
            );
            for module in named(line) {
                let Some(other) = floor(module) else { continue };
                if module != source.module && other >= own {
                    wrong.push(format!(
                        "{}:{number}: {} imports {module}",
                        source.path.display(),
                        source.module
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports that go up or sideways:\n{}", wrong.join("\n"));
}

#[test]
fn cores_touch_nothing_of_the_world() {
    let mut wrong = Vec::new();
    for source in sources() {
        if floor(&source.module).is_some_and(|f| f >= 5) {
            continue;
        }
        for (number, line) in code(&source.text) {
            for word in WORLD.iter().filter(|w| line.contains(**w)) {
                wrong.push(format!("{}:{number}: {word}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "only the shell may:\n{}", wrong.join("\n"));
}

#[test]
fn str0m_is_confined_to_the_worker() {
    for source in sources().iter().filter(|s| s.module != "worker") {
        for (number, line) in code(&source.text) {
            assert!(!line.contains("str0m::"), "{}:{number}: {line}", source.path.display());
        }
    }
}

#[test]
fn unsafe_stands_in_one_file_and_is_proved() {
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (number, line) in code(&source.text) {
            if !line.contains("unsafe {")
                && !line.contains("unsafe fn")
                && !line.contains("unsafe impl")
            {
                continue;
            }
            assert_eq!(source.path, Path::new("shell/udp.rs"), "line {number}: {line}");
            let above = lines[number.saturating_sub(12)..number - 1].join("\n");
            assert!(above.contains("SAFETY:"), "{}:{number} has no proof", source.path.display());
        }
    }
}

/// Every core denies what panics on input; exceptions stand in the source with their reason.
#[test]
fn cores_deny_what_panics() {
    let cores = FLOORS[..5].iter().flat_map(|floor| floor.iter());
    for core in cores.filter(|core| **core != "config") {
        let path = format!("{core}/mod.rs");
        let sources = sources();
        let source = sources.iter().find(|s| s.path == Path::new(&path)).expect("a folder");
        let denied = source.text.split("#![deny(").nth(1).and_then(|rest| rest.split(')').next());
        for lint in ["unwrap_used", "expect_used", "panic", "indexing_slicing", "string_slice"] {
            assert!(denied.is_some_and(|d| d.contains(lint)), "{path} does not deny {lint}");
        }
    }
    for source in sources() {
        let mut attributes = source.text.split("clippy::indexing_slicing").skip(1);
        let reasoned = |rest: &str| rest.split(']').next().is_some_and(|a| a.contains("reason"));
        let is_mod = source.path.ends_with("mod.rs");
        assert!(is_mod || attributes.all(reasoned), "{}: no reason", source.path.display());
    }
}

#[test]
fn files_are_read_in_one_sitting() {
    let mut long = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        let name = source.path.display().to_string();
        let allowed =
            LONG_FILES.iter().find(|(f, _)| *f == name).map_or(FILE_LINES_MAX, |(_, n)| *n);
        if lines > allowed {
            long.push(format!("{name}: {lines} lines, at most {allowed}"));
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn functions_are_read_in_one_breath() {
    let mut long = Vec::new();
    for source in sources() {
        for (name, lines) in functions(&source.text) {
            let full = format!("{}:{name}", source.path.display());
            let allowed = LONG_FUNCTIONS
                .iter()
                .find(|(f, _)| *f == full)
                .map_or(FUNCTION_LINES_MAX, |(_, n)| *n);
            if lines > allowed {
                long.push(format!("{full}: {lines} lines, at most {allowed}"));
            }
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

/// Functions with their length, found by the indentation that rustfmt gives.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let head = trimmed.split("fn ").next().unwrap_or_default();
        let is_fn = trimmed.contains("fn ")
            && head.split_whitespace().all(|w| {
                w.starts_with("pub")
                    || ["const", "unsafe", "extern", "in", "async"].contains(&w)
                    || w.ends_with(')')
            });
        if !is_fn {
            continue;
        }
        let indent = line.len() - trimmed.len();
        let end = format!("{}}}", " ".repeat(indent));
        let Some(length) = lines[start..].iter().position(|l| *l == end) else { continue };
        let name = trimmed.split("fn ").nth(1).unwrap_or_default();
        let name =
            name.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
        found.push((name.to_string(), length + 1));
    }
    found
}

#[test]
fn these_rules_can_fail() {
    assert_eq!(named("use crate::worker::Worker;"), ["worker"]);
    assert!(floor("worker") > floor("room"));
    let long = format!("    pub fn long(&self) {{\n{}    }}\n", "        x();\n".repeat(80));
    assert_eq!(functions(&long), [("long".to_string(), 82)]);
    let commented: Vec<_> = code("// Instant::now\nInstant::now();").collect();
    assert_eq!(commented, [(2, "Instant::now();")]);
}
