//! What a test reads of a session description.

/// One m-line.
#[derive(Debug, Clone, Default)]
pub struct Line {
    pub is_video: bool,
    pub mid: String,
    /// Of VP8 or Opus, and of the retransmissions of VP8.
    pub payload_type: u8,
    pub rtx: Option<u8>,
    /// The stream and its retransmissions, if the description names them.
    pub ssrcs: Vec<u32>,
    extensions: Vec<(String, u8)>,
}

impl Line {
    /// The id of a header extension whose URI ends so; 0 if there is none.
    pub fn extension(&self, ends: &str) -> u8 {
        let found = self.extensions.iter().find(|(uri, _)| uri.ends_with(ends));
        found.map_or(0, |(_, id)| *id)
    }
}

/// All m-lines, in their order.
pub fn lines(sdp: &str) -> Vec<Line> {
    sdp.split("\r\nm=").skip(1).map(line).collect()
}

fn line(section: &str) -> Line {
    let mut line = Line { is_video: section.starts_with("video"), ..Line::default() };
    let codec = if line.is_video { "VP8/90000" } else { "opus/48000/2" };
    for attribute in section.lines().filter_map(|text| text.strip_prefix("a=")) {
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        let (first, rest) = value.split_once(' ').unwrap_or((value, ""));
        match name {
            "mid" => line.mid = value.to_owned(),
            "rtpmap" if rest.eq_ignore_ascii_case(codec) => {
                line.payload_type = first.parse().expect("a payload type");
            }
            "fmtp" if rest == format!("apt={}", line.payload_type) => {
                line.rtx = first.parse().ok();
            }
            "ssrc-group" if first == "FID" => {
                line.ssrcs = rest.split(' ').filter_map(|ssrc| ssrc.parse().ok()).collect();
            }
            "ssrc" if line.ssrcs.is_empty() => line.ssrcs.extend(first.parse::<u32>()),
            "extmap" => {
                let id = first.split('/').next().and_then(|id| id.parse().ok());
                line.extensions.push((rest.to_owned(), id.expect("an id")));
            }
            _ => {}
        }
    }
    line
}
