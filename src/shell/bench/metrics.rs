//! What the server says of itself (`/metrics`, OpenMetrics 1.0), as far as a comparison of two
//! readings needs it.

use std::collections::BTreeMap;

/// All samples of one reading.
#[derive(Debug, Clone, Default)]
pub struct Metrics(BTreeMap<Sample, f64>);

/// A name with its labels in order, without the worker's: workers are summed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
}

const PREFIX: &str = "trackyard_";

impl Metrics {
    pub fn parse(text: &str) -> Metrics {
        let mut samples = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((sample, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            *samples.entry(Sample::parse(sample)).or_default() += value;
        }
        Metrics(samples)
    }

    /// What was counted since another reading, of all samples.
    pub fn since(&self, before: &Metrics) -> Metrics {
        let value = |(sample, value): (&Sample, &f64)| {
            (sample.clone(), value - before.0.get(sample).copied().unwrap_or(0.0))
        };
        Metrics(self.0.iter().map(value).collect())
    }

    /// A counter without labels, by its name without the prefix and `_total`.
    pub fn count(&self, name: &str) -> u64 {
        let name = format!("{PREFIX}{name}_total");
        let found = self.0.iter().find(|(s, _)| s.name == name && s.labels.is_empty());
        found.map_or(0, |(_, value)| *value as u64)
    }

    /// What was dropped, by reason.
    pub fn dropped(&self) -> BTreeMap<String, u64> {
        let name = format!("{PREFIX}dropped_total");
        let dropped = self.0.iter().filter(|(s, value)| s.name == name && **value > 0.0);
        dropped.filter_map(|(s, v)| Some((s.labels.first()?.1.clone(), *v as u64))).collect()
    }

    /// The quantiles of every histogram, by its name and labels.
    pub fn quantiles(&self, shares: [f64; 3]) -> BTreeMap<String, [f64; 3]> {
        let mut histograms: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for (sample, count) in &self.0 {
            let Some(name) = sample.name.strip_suffix("_bucket") else { continue };
            let mut name = name.trim_start_matches(PREFIX).to_owned();
            let mut bound = None;
            for (label, value) in &sample.labels {
                match &**label {
                    "le" => bound = value.replace("+Inf", "inf").parse::<f64>().ok(),
                    _ => name += &format!(" {label}={value}"),
                }
            }
            if let Some(bound) = bound {
                histograms.entry(name).or_default().push((bound, *count));
            }
        }
        let some = histograms.into_iter().filter_map(|(name, mut buckets)| {
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            let all = buckets.last().map_or(0.0, |(_, count)| *count);
            (all > 0.0).then(|| (name, shares.map(|share| quantile(&buckets, all * share))))
        });
        some.collect()
    }
}

/// Where the cumulative count is reached, between a bucket's bounds in proportion.
fn quantile(buckets: &[(f64, f64)], wanted: f64) -> f64 {
    let mut before = (0.0, 0.0);
    for (bound, count) in buckets {
        if *count >= wanted && *count > before.1 {
            if bound.is_infinite() {
                return before.0;
            }
            return before.0 + (bound - before.0) * (wanted - before.1) / (count - before.1);
        }
        before = (*bound, *count);
    }
    before.0
}

impl Sample {
    fn parse(text: &str) -> Sample {
        let (name, rest) = text.split_once('{').unwrap_or((text, ""));
        let labels = rest.trim_end_matches('}').split("\",").filter_map(|label| {
            let (label, value) = label.split_once("=\"")?;
            Some((label.to_owned(), value.trim_end_matches('"').to_owned()))
        });
        let labels = labels.filter(|(label, _)| label != "worker").collect();
        Sample { name: name.to_owned(), labels }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE trackyard_packets_in counter\n\
        trackyard_packets_in_total{worker=\"0\"} 5\ntrackyard_packets_in_total{worker=\"1\"} 7\n\
        trackyard_dropped_total{worker=\"0\",reason=\"stale\"} 2\n\
        trackyard_dropped_total{worker=\"1\",reason=\"stale\"} 1\n\
        trackyard_dropped_total{worker=\"1\",reason=\"codec\"} 0\n\
        trackyard_stage_seconds_bucket{worker=\"0\",stage=\"open\",le=\"0.001\"} 50\n\
        trackyard_stage_seconds_bucket{worker=\"0\",stage=\"open\",le=\"0.002\"} 99\n\
        trackyard_stage_seconds_bucket{worker=\"0\",stage=\"open\",le=\"+Inf\"} 100\n\
        trackyard_stage_seconds_count{worker=\"0\",stage=\"open\"} 100\n# EOF\n";

    #[test]
    fn workers_are_summed_and_readings_compared() {
        let metrics = Metrics::parse(TEXT);
        assert_eq!(metrics.count("packets_in"), 12);
        assert_eq!(metrics.count("nothing"), 0);
        assert_eq!(metrics.dropped(), BTreeMap::from([("stale".to_owned(), 3)]));
        let none = metrics.since(&metrics);
        assert_eq!(none.count("packets_in"), 0);
        assert!(none.dropped().is_empty() && none.quantiles([0.5; 3]).is_empty());
        let all = metrics.since(&Metrics::default()).quantiles([0.5, 0.745, 0.999]);
        assert_eq!(all.keys().collect::<Vec<_>>(), ["stage_seconds stage=open"]);
        let [p50, p74, p999] = all["stage_seconds stage=open"];
        assert!((p50 - 0.001).abs() < 1e-9 && (p74 - 0.0015).abs() < 1e-9, "{p50} {p74}");
        assert_eq!(p999, 0.002, "beyond the last bound nothing is known");
    }
}
