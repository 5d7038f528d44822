//! The README's table of limits is that of `src/base/limits.rs`: the same names, the same values.

use std::collections::BTreeMap;
use std::time::Duration;

const SOURCE: &str = include_str!("../src/base/limits.rs");
const README: &str = include_str!("../README.md");

/// `NAME` to its value as the README writes it, from each public constant.
fn constants() -> BTreeMap<String, String> {
    let items = SOURCE.split("pub const ").skip(1);
    let found: BTreeMap<_, _> = items
        .map(|item| {
            let (declared, rest) = item.split_once('=').expect("a constant has a value");
            let (name, kind) = declared.split_once(':').expect("a constant has a type");
            let (value, _) = rest.split_once(';').expect("it ends");
            (name.trim().to_owned(), written(name.trim(), kind.trim(), value.trim()))
        })
        .collect();
    assert!(found.len() > 20, "the constants were read");
    found
}

fn written(name: &str, kind: &str, value: &str) -> String {
    if kind == "Duration" {
        let (unit, number) = value.split_once('(').expect("Duration::from_x(n)");
        let number = product(number.trim_end_matches(')'));
        let duration = match unit {
            "Duration::from_secs" => Duration::from_secs(number),
            "Duration::from_millis" => Duration::from_millis(number),
            _ => panic!("{name}: {unit}"),
        };
        return match duration.as_millis() {
            ms if ms % 1_000 == 0 => format!("{} s", ms / 1_000),
            ms => format!("{ms} ms"),
        };
    }
    if kind == "Bitrate" {
        let (unit, number) = value.split_once('(').expect("Bitrate::from_kbps(n)");
        assert_eq!(unit, "Bitrate::from_kbps", "{name}");
        let kbps = product(number.trim_end_matches(')'));
        return match kbps {
            mbps if mbps % 1_000 == 0 => format!("{} Mbit/s", mbps / 1_000),
            kbps => format!("{kbps} kbit/s"),
        };
    }
    if kind == "Rate" {
        let (_, numbers) = value.split_once('(').expect("Rate::per_second(burst, rate)");
        let (burst, rate) = numbers.trim_end_matches(')').split_once(',').expect("two numbers");
        return format!("{} at once, then {} a second", grouped(product(burst)), product(rate));
    }
    let number = product(value);
    match (name.contains("BYTES"), number) {
        (true, n) if n % (1 << 20) == 0 => format!("{} MiB", n >> 20),
        (true, n) if n % 1_024 == 0 => format!("{} KiB", n >> 10),
        (true, n) => format!("{} bytes", grouped(n)),
        (false, n) => grouped(n),
    }
}

/// `60 * 1024`, `16_384`.
fn product(text: &str) -> u64 {
    let factors = text.split('*').map(|f| f.trim().replace('_', ""));
    factors
        .map(|f| f.parse::<u64>().unwrap_or_else(|_| panic!("no plain number: {text}")))
        .product()
}

fn grouped(number: u64) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1_000), number % 1_000),
    }
}

#[test]
fn the_table_in_the_readme_is_that_of_the_source() {
    let section = README.split("\n## Limits\n").nth(1).expect("a section of that name");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let name = cells.get(3)?.strip_prefix('`')?.strip_suffix('`')?;
        Some((name.to_owned(), cells.get(2)?.to_string()))
    });
    let rows: BTreeMap<String, String> = rows.collect();
    let constants = constants();
    for (name, value) in &constants {
        assert_eq!(rows.get(name), Some(value), "{name} in README's table");
    }
    for name in rows.keys() {
        assert!(constants.contains_key(name), "{name} is no constant any more");
    }
}

#[test]
fn values_are_written_for_people() {
    assert_eq!(written("SDP_BYTES_MAX", "usize", "60 * 1024"), "60 KiB");
    assert_eq!(written("ROOMS_MAX", "usize", "10_000"), "10,000");
    assert_eq!(written("DATAGRAM_BYTES_MAX", "usize", "1_200"), "1,200 bytes");
    assert_eq!(written("CONN_HEAD_TIMEOUT", "Duration", "Duration::from_millis(1_500)"), "1500 ms");
}
