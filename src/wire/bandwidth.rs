//! Bit rates in session descriptions: what an offer declares, and what it may be held to.

use super::sdp::map_lines;

/// What an m-line of an offer says about the rate at which it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sends {
    Nothing,
    Undeclared,
    /// In bit/s.
    Declared(u64),
}

/// For each m-line. `b=AS` and `b=TIAS` (RFC 8866 §5.8, RFC 3890) say something about sending only
/// where nothing is received: elsewhere they are what the offerer wants to get (RFC 3264 §5.1).
fn sends(offer: &str) -> Vec<Sends> {
    let sections = offer.split("\nm=").skip(1);
    sections
        .map(|section| {
            let mut lines = section.lines().map(str::trim_end);
            let is_media = !lines.next().is_some_and(|m| m.starts_with("application"));
            let has = |wanted| section.lines().any(|line| line.trim_end() == wanted);
            let declared =
                lines.find_map(|line| match line.strip_prefix("b=")?.split_once(':')? {
                    ("AS", kilobits) => kilobits.parse::<u64>().ok()?.checked_mul(1_000),
                    ("TIAS", bits) => bits.parse().ok(),
                    _ => None,
                });
            match declared.filter(|bps| *bps > 0) {
                _ if !is_media || has("a=recvonly") || has("a=inactive") => Sends::Nothing,
                Some(bps) if has("a=sendonly") => Sends::Declared(bps),
                _ => Sends::Undeclared,
            }
        })
        .collect()
}

/// The bit rate that an offer declares for all that it sends, if it does so for each m-line.
pub fn declared_bps(offer: &str) -> Option<u64> {
    let sends = sends(offer);
    let total = sends.iter().try_fold(0u64, |total, sends| match sends {
        Sends::Nothing => Some(total),
        Sends::Undeclared => None,
        Sends::Declared(bps) => total.checked_add(*bps),
    });
    total.filter(|total| *total > 0)
}

/// The answer with the rates that its offer declared, so that a browser, which keeps to what it is
/// told and not to what it said, does not send more.
pub fn with_declared(answer: &str, offer: &str) -> String {
    let mut declared = sends(offer).into_iter();
    let mut due = None;
    map_lines(answer, |line| {
        if line.starts_with("m=") {
            due = declared.next();
        } else if line.starts_with("a=")
            && let Some(Sends::Declared(bps)) = due.take()
        {
            return format!("b=TIAS:{bps}\r\n{line}");
        }
        line.to_string()
    })
}

/// The offer as if it had declared no more than `limit` gives for each m-line, by its kind and mid, in
/// bit/s; where that gives something, and nothing is received.
pub fn with_limits(offer: &str, limit: impl Fn(&str, &str) -> Option<u64>) -> String {
    let mid = |section: &str| {
        let mut lines = section.lines().map(str::trim_end);
        lines.find_map(|line| line.strip_prefix("a=mid:")).unwrap_or_default().to_owned()
    };
    let sections = offer.split("\nm=").skip(1).zip(sends(offer));
    let mut rates = sections.map(|(section, sends)| {
        let most = limit(section.split(' ').next()?, &mid(section))?;
        match sends {
            Sends::Declared(bps) => Some(bps.min(most)),
            Sends::Undeclared if section.contains("a=sendonly") => Some(most),
            _ => None,
        }
    });
    let (mut limited, mut due) = (false, None);
    let mut lines = String::new();
    for line in offer.lines().map(str::trim_end) {
        if line.starts_with("m=") {
            due = rates.next().flatten();
            limited = due.is_some();
        } else if line.starts_with("a=")
            && let Some(bps) = due.take()
        {
            lines += &format!("b=TIAS:{bps}\r\n");
        } else if line.starts_with("b=") && limited {
            continue;
        }
        lines += line;
        lines += "\r\n";
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of one m-line.
    fn line(kind: &str, direction: &str, rates: &str) -> String {
        format!("m={kind} 9 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\n{rates}a={direction}\r\n")
    }

    #[test]
    fn a_rate_is_declared_where_it_is_only_sent() {
        let line = |kind, direction, rates| {
            format!(
                "m={kind} 9 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\n{rates}a={direction}\r\n"
            )
        };
        let offer = |lines: &[String]| format!("v=0\r\nb=AS:9\r\n{}", lines.concat());
        let video = line("video", "sendonly", "b=TIAS:500000\r\nb=AS:900\r\n");
        let audio = line("audio", "sendonly", "b=AS:64\r\n");
        let slot = line("video", "recvonly", "b=AS:1\r\n");
        let data = line("application", "sendrecv", "");
        let all = offer(&[video.clone(), audio.clone(), slot, data]);
        assert_eq!(declared_bps(&all), Some(564_000));
        for other in [line("audio", "sendonly", ""), line("audio", "sendrecv", "b=AS:64\r\n")] {
            assert_eq!(declared_bps(&offer(&[video.clone(), other])), None, "not of all");
        }
        for nothing in ["b=AS:0\r\n", "b=AS:x\r\n", "b=AS:99999999999999999999\r\n", "b=CT:9\r\n"] {
            assert_eq!(declared_bps(&offer(&[line("video", "sendonly", nothing)])), None);
        }
        assert_eq!(declared_bps("v=0\r\n"), None);
        let answer = line("video", "recvonly", "") + &line("audio", "inactive", "");
        let told = with_declared(&answer, &offer(&[video, line("audio", "sendonly", "")]));
        let section = line("video", "recvonly", "b=TIAS:500000\r\n");
        assert_eq!(told, section + &line("audio", "inactive", ""));
    }

    #[test]
    fn a_limit_is_declared_where_more_might_be_sent() {
        let limit =
            |kind: &str, mid: &str| (kind == "video").then_some(if mid == "s" { 900 } else { 500 });
        let with = |direction: &str, rates: &str| {
            with_limits(&format!("v=0\r\n{}", line("video", direction, rates)), limit)
        };
        assert!(with("sendonly", "").contains("b=TIAS:500\r\na=sendonly"));
        assert!(with("sendonly", "b=AS:4\r\n").contains("\r\nb=TIAS:500\r\n"));
        assert!(!with("sendonly", "b=AS:4\r\n").contains("b=AS"), "in its place");
        assert!(with("sendonly", "b=TIAS:400\r\n").contains("\r\nb=TIAS:400\r\n"), "less is");
        assert!(!with("recvonly", "").contains("b="));
        let screen = format!("v=0\r\n{}a=mid:s\r\n", line("video", "sendonly", ""));
        assert_eq!(declared_bps(&with_limits(&screen, limit)), Some(900));
        let audio = format!("v=0\r\n{}", line("audio", "sendonly", ""));
        assert_eq!(with_limits(&audio, limit), audio);
    }
}
