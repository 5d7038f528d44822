//! Offers like a browser's, with what the benchmark uses, and what it reads in an answer.

use std::fmt::Write as _;

use super::stun::Ice;
use crate::wire::sdpfrag::first_value;

/// Payload types, which the server takes from the offer.
pub const VIDEO_PT: u8 = 96;
pub const AUDIO_PT: u8 = 111;
/// Of the transport-wide sequence number.
pub const TRANSPORT_ID: u8 = 3;

/// What a client offers.
#[derive(Debug, Clone)]
pub struct Offer<'a> {
    pub ice: &'a Ice,
    /// SHA-256 of the DTLS certificate.
    pub fingerprint: &'a str,
    /// SSRCs of what it sends.
    pub video: Option<u32>,
    pub audio: Option<u32>,
    /// How much it receives.
    pub video_slots: usize,
    pub audio_slots: usize,
    /// Transport-wide sequence numbers and feedback on them.
    pub feedback: bool,
}

/// One m-line.
#[derive(Debug, Clone, Copy)]
struct Line {
    is_video: bool,
    /// What is sent, or a slot.
    ssrc: Option<u32>,
}

impl Offer<'_> {
    pub fn text(&self) -> String {
        let sent = |is_video, ssrc: Option<u32>| ssrc.map(|_| Line { is_video, ssrc });
        let slot = |is_video| Line { is_video, ssrc: None };
        let lines: Vec<Line> = (sent(false, self.audio).into_iter())
            .chain(sent(true, self.video))
            .chain((0..self.audio_slots).map(|_| slot(false)))
            .chain((0..self.video_slots).map(|_| slot(true)))
            .collect();
        let mut text =
            "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE".to_owned();
        for mid in 0..lines.len() {
            push(&mut text, format_args!(" {mid}"));
        }
        text += "\r\na=extmap-allow-mixed\r\n";
        for (mid, line) in lines.into_iter().enumerate() {
            self.section(&mut text, mid, line);
        }
        text
    }

    fn section(&self, text: &mut String, mid: usize, line: Line) {
        let (kind, formats) = match line.is_video {
            true => ("video", "96 97"),
            false => ("audio", "111"),
        };
        let (ufrag, pwd) = (&self.ice.own_ufrag, &self.ice.own_pwd);
        push(
            text,
            format_args!(
                "m={kind} 9 UDP/TLS/RTP/SAVPF {formats}\r\nc=IN IP4 0.0.0.0\r\n\
                 a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\na=ice-options:trickle\r\n\
                 a=fingerprint:sha-256 {}\r\na=setup:actpass\r\na=mid:{mid}\r\n\
                 a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n\
                 a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
                 a=rtcp-mux\r\na=rtcp-rsize\r\n",
                self.fingerprint
            ),
        );
        *text += match line.is_video {
            true => {
                "a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 ccm fir\r\na=rtcp-fb:96 nack\r\n\
                 a=rtcp-fb:96 nack pli\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n"
            }
            false => "a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n",
        };
        if self.feedback {
            let pt = if line.is_video { VIDEO_PT } else { AUDIO_PT };
            push(
                text,
                format_args!(
                    "a=extmap:{TRANSPORT_ID} http://www.ietf.org/id/\
                     draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
                     a=rtcp-fb:{pt} transport-cc\r\n"
                ),
            );
        }
        match line.ssrc {
            Some(ssrc) => push(
                text,
                format_args!(
                    "a=sendonly\r\na=msid:- {kind}\r\na=ssrc:{ssrc} cname:bench\r\n\
                     a=ssrc:{ssrc} msid:- {kind}\r\n"
                ),
            ),
            None => *text += "a=recvonly\r\n",
        }
    }
}

/// Takes the server's credentials from its answer; `false` if it has none.
pub fn read_answer(answer: &str, ice: &mut Ice) -> bool {
    let value = |field| first_value(answer, field).unwrap_or_default().to_owned();
    (ice.ufrag, ice.pwd) = (value("a=ice-ufrag:"), value("a=ice-pwd:"));
    !ice.ufrag.is_empty() && !ice.pwd.is_empty()
}

fn push(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a string takes all that is written to it");
}
