//! The table of constants says what the sources say.

use std::collections::BTreeMap;

const TABLE: &str = include_str!("../constants.md");
const SOURCES: [(&str, &str); 11] = [
    ("groups::", include_str!("../groups.rs")),
    ("trend::", include_str!("../trend.rs")),
    ("queue::", include_str!("../queue.rs")),
    ("acked::", include_str!("../acked.rs")),
    ("rate::", include_str!("../rate.rs")),
    ("loss::", include_str!("../loss.rs")),
    ("application::", include_str!("../application.rs")),
    ("probe::", include_str!("../probe.rs")),
    ("reports::", include_str!("../reports.rs")),
    ("", include_str!("../mod.rs")),
    ("", include_str!("../../../base/limits.rs")),
];

/// A value as the table writes it.
fn shown(value: &str) -> String {
    let units = [
        ("Duration::from_millis(", " ms"),
        ("Duration::from_secs(", " s"),
        ("Bitrate::from_kbps(", " kbit/s"),
    ];
    for (call, unit) in units {
        if let Some(number) = value.strip_prefix(call) {
            return format!("{}{unit}", number.trim_end_matches(')'));
        }
    }
    value.to_string()
}

#[test]
fn the_table_is_true() {
    let mut said = BTreeMap::new();
    for (module, source) in SOURCES {
        for line in source.lines().filter(|line| line.contains("const ")) {
            let Some((_, rest)) = line.split_once("const ") else { continue };
            let Some((name, rest)) = rest.split_once(": ") else { continue };
            let Some((_, value)) = rest.split_once(" = ") else { continue };
            let is_ours = line.starts_with("const") || line.starts_with("pub const");
            let is_other = source.contains("WORKERS_MAX") && !name.starts_with("ESTIMATE");
            if is_ours && !is_other {
                said.insert(format!("{module}{name}"), shown(value.trim_end_matches(';')));
            }
        }
    }
    let rows = TABLE.lines().filter_map(|line| line.strip_prefix("| `"));
    let table: BTreeMap<String, String> = rows
        .filter_map(|row| row.split_once("` | "))
        .map(|(name, rest)| (name.to_string(), rest.split(" | ").next().unwrap().to_string()))
        .collect();
    assert!(said.len() > 90, "{}", said.len());
    assert_eq!(table, said);
}
