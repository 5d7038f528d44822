//! Session descriptions as text: what is refused before anything parses it, what is taken out of
//! an offer, and the small edits that an answer needs. `str0m` does the reading.

use std::fmt;

use crate::base::limits::{
    ENCODINGS_MAX, SDP_BYTES_MAX, SDP_CANDIDATES_MAX, SDP_M_LINES_MAX, STREAMS_PER_PEER_MAX,
};

/// `str0m` keeps a mid in 16 bytes.
const MID_CHARS_MAX: usize = 16;

/// Why an offer was refused, in words for the person who sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SdpError {
    TooLarge,
    TooManyMLines,
    TooManyCandidates,
    NotSdp,
    /// Longer than 16 characters, or not one m-line's own.
    BadMid,
    /// RFC 8827 §6.5: WebRTC needs `a=fingerprint`.
    NoFingerprint,
    NoIceCredentials,
    NoMedia,
    /// `str0m` leaves an m-line of another kind out of the answer, which fits no offer then.
    UnknownMedia,
    /// A profile other than DTLS-SRTP or data channels over DTLS.
    Unprotected,
}

impl fmt::Display for SdpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SdpError::TooLarge => write!(f, "more than {SDP_BYTES_MAX} bytes"),
            SdpError::TooManyMLines => write!(f, "more than {SDP_M_LINES_MAX} m-lines"),
            SdpError::TooManyCandidates => write!(f, "more than {SDP_CANDIDATES_MAX} candidates"),
            SdpError::NotSdp => f.write_str("not a session description (it begins with \"v=0\")"),
            SdpError::BadMid => {
                f.write_str("each m-line needs an a=mid of its own, of 1 to 16 characters")
            }
            SdpError::NoFingerprint => f.write_str("no a=fingerprint"),
            SdpError::NoIceCredentials => f.write_str("no a=ice-ufrag and a=ice-pwd"),
            SdpError::NoMedia => f.write_str("no m-line"),
            SdpError::UnknownMedia => {
                f.write_str("an m-line that is neither audio, video nor application")
            }
            SdpError::Unprotected => {
                f.write_str("an m-line without DTLS: UDP/TLS/RTP/SAVPF or UDP/DTLS/SCTP is needed")
            }
        }
    }
}

/// An offer that may be parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Without candidates: we are ICE-lite and learn addresses from checks, so what an offer
    /// claims can never make us send anywhere.
    pub text: String,
    /// The `a=mid` values in order.
    pub mids: Vec<String>,
    /// The first `a=fingerprint` value: another one is another `RTCPeerConnection`.
    pub fingerprint: String,
}

/// Checks an offer's bounds in one pass over its lines and strips what must not be parsed.
pub fn gate_offer(sdp: &str) -> Result<Offer, SdpError> {
    if sdp.len() > SDP_BYTES_MAX {
        return Err(SdpError::TooLarge);
    }
    if !sdp.starts_with("v=0") {
        return Err(SdpError::NotSdp);
    }
    let mut text = String::with_capacity(sdp.len());
    let mut fingerprint = None;
    let mut mids = Vec::new();
    let mut has_bandwidth = false;
    let (mut m_lines, mut candidates, mut ufrags, mut pwds) = (0, 0, 0, 0);
    for line in sdp.lines() {
        let line = line.trim_end();
        if let Some(media) = line.strip_prefix("m=") {
            if mids.len() != m_lines {
                return Err(SdpError::BadMid);
            }
            m_lines += 1;
            has_bandwidth = false;
            if m_lines > SDP_M_LINES_MAX {
                return Err(SdpError::TooManyMLines);
            }
            check_media(media)?;
        } else if line.starts_with("a=candidate:") {
            candidates += 1;
            if candidates > SDP_CANDIDATES_MAX {
                return Err(SdpError::TooManyCandidates);
            }
            continue;
        } else if line.starts_with("b=") {
            // `str0m` reads one in a section, and refuses the whole for a second.
            if std::mem::replace(&mut has_bandwidth, true) {
                continue;
            }
        } else if let Some(mid) = line.strip_prefix("a=mid:") {
            let fits = (1..=MID_CHARS_MAX).contains(&mid.len());
            if !fits || mids.len() == m_lines || mids.iter().any(|m| m == mid) {
                return Err(SdpError::BadMid);
            }
            mids.push(mid.to_string());
        } else if let Some(value) = line.strip_prefix("a=fingerprint:") {
            fingerprint.get_or_insert_with(|| value.to_string());
        }
        ufrags += usize::from(line.starts_with("a=ice-ufrag:"));
        pwds += usize::from(line.starts_with("a=ice-pwd:"));
        text.push_str(line);
        text.push_str("\r\n");
    }
    if m_lines == 0 {
        return Err(SdpError::NoMedia);
    }
    if ufrags == 0 || pwds == 0 {
        return Err(SdpError::NoIceCredentials);
    }
    if mids.len() != m_lines {
        return Err(SdpError::BadMid);
    }
    let fingerprint = fingerprint.ok_or(SdpError::NoFingerprint)?;
    Ok(Offer { text, mids, fingerprint })
}

/// The rest of an m-line (RFC 8866 §5.14): kind, port, protocol.
fn check_media(media: &str) -> Result<(), SdpError> {
    let mut words = media.split(' ');
    if !matches!(words.next(), Some("audio" | "video" | "application")) {
        return Err(SdpError::UnknownMedia);
    }
    match words.nth(1) {
        Some("UDP/TLS/RTP/SAVPF" | "UDP/DTLS/SCTP" | "DTLS/SCTP") => Ok(()),
        _ => Err(SdpError::Unprotected),
    }
}

/// A stream that an offer names ahead of its first packet (RFC 5576 §4.1), and that of its
/// retransmissions (RFC 5576 §4.2, `FID`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnouncedStream {
    pub mid: String,
    pub ssrc: u32,
    pub rtx: Option<u32>,
}

/// The streams that an offer names, at most [`STREAMS_PER_PEER_MAX`].
pub fn announced_streams(offer: &str) -> Vec<AnnouncedStream> {
    let mut all = Vec::new();
    for section in offer.split("\nm=").skip(1) {
        let lines = || section.lines().map(str::trim_end);
        let Some(mid) = lines().find_map(|line| line.strip_prefix("a=mid:")) else { continue };
        let groups = lines().filter_map(|line| line.strip_prefix("a=ssrc-group:FID "));
        let pairs: Vec<(u32, u32)> = groups
            .filter_map(|group| {
                let (first, second) = group.split_once(' ')?;
                Some((first.parse().ok()?, second.trim().parse().ok()?))
            })
            .collect();
        let named = lines().filter_map(|line| line.strip_prefix("a=ssrc:")?.split(' ').next());
        for ssrc in named.filter_map(|ssrc| ssrc.parse::<u32>().ok()) {
            let known = all.iter().any(|a: &AnnouncedStream| a.ssrc == ssrc);
            if known || pairs.iter().any(|(_, rtx)| *rtx == ssrc) {
                continue;
            }
            if all.len() >= STREAMS_PER_PEER_MAX {
                return all;
            }
            let rtx = pairs.iter().find(|(of, _)| *of == ssrc).map(|(_, rtx)| *rtx);
            all.push(AnnouncedStream { mid: mid.to_string(), ssrc, rtx });
        }
    }
    all
}

/// The encodings of each m-line that sends simulcast (RFC 8853): its mid and their rids, as the
/// offer orders them, at most [`ENCODINGS_MAX`]. Of alternatives the first counts.
pub fn encodings(offer: &str) -> Vec<(String, Vec<String>)> {
    let sections = offer.split("\nm=").skip(1);
    let of_section = |section: &str| {
        let mut lines = section.lines().map(str::trim_end);
        let rids = lines.clone().find_map(|line| line.strip_prefix("a=simulcast:"))?;
        let mid = lines.find_map(|line| line.strip_prefix("a=mid:"))?;
        let mut words = rids.split(' ').skip_while(|word| *word != "send");
        let choices = words.nth(1)?.split(';').filter_map(|choice| choice.split(',').next());
        let mut rids: Vec<String> = Vec::new();
        for rid in choices.map(|rid| rid.trim_start_matches('~')).filter(|rid| is_rid(rid)) {
            if rids.len() < ENCODINGS_MAX && !rids.iter().any(|known| known == rid) {
                rids.push(rid.to_string());
            }
        }
        (!rids.is_empty()).then(|| (mid.to_string(), rids))
    };
    sections.filter_map(of_section).collect()
}

/// What a header extension of the one-byte form holds, of the characters that RFC 8852 §3.1 allows.
fn is_rid(rid: &str) -> bool {
    (1..=16).contains(&rid.len()) && rid.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The offer as if it had no simulcast, which `str0m` need not know of.
pub fn without_simulcast(offer: &str) -> String {
    let lines = offer.lines().map(str::trim_end);
    let kept = lines.filter(|l| !l.starts_with("a=simulcast:") && !l.starts_with("a=rid:"));
    kept.flat_map(|line| [line, "\r\n"]).collect()
}

/// The answer to an offer with these [`encodings`]: all of them are received (RFC 8853 §5.3.2).
pub fn with_simulcast(answer: &str, encodings: &[(String, Vec<String>)]) -> String {
    let mut of_mid = None;
    map_lines(answer, |line| {
        if line.starts_with("m=") {
            of_mid = None;
        } else if let Some(mid) = line.strip_prefix("a=mid:") {
            of_mid = encodings.iter().find(|(of, _)| of == mid).map(|(_, rids)| rids);
        } else if matches!(line, "a=recvonly" | "a=sendrecv")
            && let Some(rids) = of_mid.take()
        {
            let each: String = rids.iter().map(|rid| format!("\r\na=rid:{rid} recv")).collect();
            return format!("{line}{each}\r\na=simulcast:recv {}", rids.join(";"));
        }
        line.to_string()
    })
}

/// The `a=mid` values of a description, in order.
pub fn mids(sdp: &str) -> impl Iterator<Item = &str> {
    sdp.lines().filter_map(|line| line.trim_end().strip_prefix("a=mid:"))
}

/// How many m-lines a description has.
pub fn m_lines(sdp: &str) -> usize {
    sdp.lines().filter(|line| line.starts_with("m=")).count()
}

/// The answer with each m-line's payload types in the offer's order, so that the client's
/// preference (the first it can send) is what it sends (RFC 3264 §6.1: the answer's order rules).
pub fn in_offered_order(answer: &str, offer: &str) -> String {
    let mut offered = offer.lines().filter(|l| l.starts_with("m="));
    let edited = answer.lines().map(|line| {
        let line = line.trim_end();
        if !line.starts_with("m=") {
            return line.to_string();
        }
        let order: Vec<&str> = offered.next().unwrap_or_default().split(' ').skip(3).collect();
        let mut parts: Vec<&str> = line.split(' ').collect();
        if let Some(formats) = parts.get_mut(3..) {
            // Stable, so what was not offered keeps its place at the end.
            formats.sort_by_key(|f| order.iter().position(|o| o == f).unwrap_or(usize::MAX));
        }
        parts.join(" ")
    });
    edited.flat_map(|line| [line, "\r\n".to_string()]).collect()
}

/// The same description with other ICE credentials: what a WHIP client's restart fragment
/// (RFC 9725 §4.3.2) means for the offer that it gave before.
pub fn with_ice_credentials(sdp: &str, ufrag: &str, pwd: &str) -> String {
    map_lines(sdp, |line| {
        if line.starts_with("a=ice-ufrag:") {
            format!("a=ice-ufrag:{ufrag}")
        } else if line.starts_with("a=ice-pwd:") {
            format!("a=ice-pwd:{pwd}")
        } else {
            line.to_string()
        }
    })
}

/// Puts every m-line into the stream `stream` (RFC 8830), so that a player that shows one person
/// keeps their lips and voice together.
pub fn with_stream(sdp: &str, stream: &str) -> String {
    map_lines(sdp, |line| match line.strip_prefix("a=msid:") {
        Some(msid) => {
            let track = msid.split(' ').nth(1).unwrap_or("-");
            format!("a=msid:{stream} {track}")
        }
        None => line.to_string(),
    })
}

/// The answer with its candidates in every m-line, and the word that these are all (RFC 8840
/// §4.3): browsers look into the first m-line of a bundle, some other stacks into the last.
pub fn with_candidates_everywhere(answer: &str) -> String {
    let mut all: String = candidates(answer).iter().map(|c| format!("a={c}\r\n")).collect();
    all += "a=end-of-candidates\r\n";
    let mut text = String::with_capacity(answer.len() * 2);
    let mut in_media = false;
    for line in answer.lines().map(str::trim_end) {
        if line.starts_with("a=candidate:") || line == "a=end-of-candidates" {
            continue;
        }
        if line.starts_with("m=") {
            if in_media {
                text += &all;
            }
            in_media = true;
        }
        text += line;
        text += "\r\n";
    }
    if in_media {
        text += &all;
    }
    text
}

pub(super) fn map_lines(sdp: &str, mut edit: impl FnMut(&str) -> String) -> String {
    sdp.lines().flat_map(|line| [edit(line.trim_end()), "\r\n".to_string()]).collect()
}

/// The values of `a=candidate` lines, each as `candidate:…` (RFC 8839 §5.1), without repeats.
pub fn candidates(sdp: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in sdp.lines() {
        let Some(value) = line.trim_end().strip_prefix("a=") else {
            continue;
        };
        if value.starts_with("candidate:") && !found.iter().any(|c| c == value) {
            found.push(value.to_string());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
        a=fingerprint:sha-256 AA:BB\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=ice-ufrag:abcd\r\na=ice-pwd:efgh\r\n\
        a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n";

    #[test]
    fn an_offer_loses_its_candidates() {
        let offer = gate_offer(OFFER).unwrap();
        assert_eq!(offer.fingerprint, "sha-256 AA:BB");
        assert!(!offer.text.contains("candidate"));
        assert!(offer.text.contains("a=mid:0\r\n"));
        assert_eq!(offer.mids, ["0"]);
    }

    #[test]
    fn bounds_are_checked_before_parsing() {
        let with = |extra: &str| gate_offer(&format!("{OFFER}{extra}"));
        let audio = |i| format!("m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:x{i}\r\n");
        let many: String = (0..1000).map(audio).collect();
        assert_eq!(with(&many), Err(SdpError::TooManyMLines));
        assert_eq!(
            with(&"a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n".repeat(40)),
            Err(SdpError::TooManyCandidates)
        );
        assert_eq!(with(&"x".repeat(SDP_BYTES_MAX)), Err(SdpError::TooLarge));
        assert_eq!(with("m=audio 9 RTP/AVPF 0\r\n"), Err(SdpError::Unprotected));
        assert_eq!(gate_offer("hello"), Err(SdpError::NotSdp));
        assert_eq!(gate_offer("v=0\r\n"), Err(SdpError::NoMedia));
        assert_eq!(
            gate_offer(&OFFER.replace("a=fingerprint", "a=x")),
            Err(SdpError::NoFingerprint)
        );
        assert_eq!(gate_offer(&OFFER.replace("a=ice-pwd", "a=x")), Err(SdpError::NoIceCredentials));
    }

    #[test]
    fn simulcast_is_read_and_answered_for_each_line() {
        let line = |mid: &str, simulcast: &str| {
            format!("m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:{mid}\r\na=sendonly\r\n{simulcast}")
        };
        let rids = "a=rid:lo send\r\na=rid:hi send pt=96;max-width=1280\r\n";
        let offer = format!(
            "v=0\r\n{}{}{}{}",
            line("a", &format!("{rids}a=simulcast:send lo;~hi\r\n")),
            line("b", ""),
            line("c", "a=simulcast:recv x;y send 1,2;3;3;-;4;5\r\n"),
            line("d", "a=simulcast:recv x\r\n"),
        );
        let read = encodings(&offer);
        let owned = |rids: &[&str]| rids.iter().map(|rid| rid.to_string()).collect::<Vec<_>>();
        let expected = [("a".into(), owned(&["lo", "hi"])), ("c".into(), owned(&["1", "3", "4"]))];
        assert_eq!(read, expected);
        let plain = without_simulcast(&offer);
        assert_eq!(plain.lines().count(), offer.lines().count() - 5);
        assert!(encodings(&plain).is_empty() && !plain.contains("a=rid"));
        let answer = plain
            .replace("sendonly", "recvonly")
            .replace("a=mid:c\r\na=recvonly", "a=mid:c\r\na=inactive");
        let told = with_simulcast(&answer, &read);
        let rids = "a=recvonly\r\na=rid:lo recv\r\na=rid:hi recv\r\na=simulcast:recv lo;hi\r\n";
        assert!(told.contains(rids), "{told}");
        assert_eq!(told.matches("simulcast").count(), 1, "what is refused has none");
    }

    #[test]
    fn a_rate_is_kept_once() {
        let gated = gate_offer(&OFFER.replace("a=mid", "b=AS:1\r\nb=TIAS:2\r\na=mid")).unwrap();
        assert_eq!(gated.text.matches("b=").count(), 1, "the first of a section");
    }

    #[test]
    fn edits_touch_only_their_lines() {
        let offer = with_ice_credentials(OFFER, "new", "secret");
        assert!(offer.contains("a=ice-ufrag:new\r\na=ice-pwd:secret\r\n"));
        assert_eq!(offer.lines().count(), OFFER.lines().count());
        let answer = "m=video 9 UDP/TLS/RTP/SAVPF 96 97 98\r\na=mid:0\r\n";
        let offer = "m=video 9 UDP/TLS/RTP/SAVPF 98 45 96 97\r\n";
        let ordered = in_offered_order(answer, offer);
        assert_eq!(ordered, "m=video 9 UDP/TLS/RTP/SAVPF 98 96 97\r\na=mid:0\r\n");
        let everywhere =
            with_candidates_everywhere(&format!("{OFFER}m=audio 9 x 1\r\na=mid:1\r\n"));
        assert_eq!(everywhere.matches("a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n").count(), 2);
        assert!(everywhere.ends_with("typ host\r\na=end-of-candidates\r\n"), "{everywhere}");
        assert_eq!(with_stream("a=msid:x y\r\n", "one"), "a=msid:one y\r\n");
        assert_eq!(candidates(OFFER), ["candidate:1 1 udp 1 192.0.2.1 9 typ host"]);
    }
}
