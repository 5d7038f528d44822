//! Header extensions: which ids a client negotiated for them, what of a received packet goes on to
//! subscribers, and what is written for each of these.

use crate::wire::rtp::{Header, Writer};

/// The ids (1 to 255) of the extensions on one m-line, or of all m-lines that share a transport,
/// which agree (RFC 8843 §9.2.3). 0: not negotiated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExtensionIds {
    /// RFC 9143 §15.
    pub mid: u8,
    /// RFC 8852 §4.1: which encoding of its m-line a stream is, and which one it repairs.
    pub rid: u8,
    pub repaired_rid: u8,
    /// RFC 6464.
    pub audio_level: u8,
    /// 3GPP TS 26.114 §7.4.5.
    pub video_orientation: u8,
    /// The `video-content-type` experiment of WebRTC.
    pub video_content_type: u8,
    /// The `playout-delay` experiment of WebRTC.
    pub playout_delay: u8,
    /// AV1 RTP specification, appendix A.
    pub dependency_descriptor: u8,
    /// draft-holmer-rmcat-transport-wide-cc-extensions-01.
    pub transport_sequence_number: u8,
    /// The `abs-send-time` experiment of WebRTC.
    pub absolute_send_time: u8,
}

impl ExtensionIds {
    /// The place for the id of an extension by its URI; `None` for one that is not used.
    pub fn of_uri(&mut self, uri: &str) -> Option<&mut u8> {
        Some(match uri {
            "urn:ietf:params:rtp-hdrext:sdes:mid" => &mut self.mid,
            "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id" => &mut self.rid,
            "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id" => &mut self.repaired_rid,
            "urn:ietf:params:rtp-hdrext:ssrc-audio-level" => &mut self.audio_level,
            "urn:3gpp:video-orientation" => &mut self.video_orientation,
            "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type" => {
                &mut self.video_content_type
            }
            "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay" => &mut self.playout_delay,
            DEPENDENCY_DESCRIPTOR_URI => &mut self.dependency_descriptor,
            "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01" => {
                &mut self.transport_sequence_number
            }
            "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time" => {
                &mut self.absolute_send_time
            }
            _ => return None,
        })
    }
}

impl ExtensionIds {
    /// Whether some id is beyond those of the one-byte form (RFC 8285 §4.2).
    pub fn needs_two_bytes(&self) -> bool {
        let ids = [
            self.mid,
            self.audio_level,
            self.video_orientation,
            self.video_content_type,
            self.playout_delay,
            self.dependency_descriptor,
            self.transport_sequence_number,
            self.absolute_send_time,
        ];
        ids.iter().any(|id| *id > 14)
    }
}

/// The name of the dependency descriptor in SDP.
pub const DEPENDENCY_DESCRIPTOR_URI: &str =
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";

/// Extensions that pass through an SFU unchanged, as their bytes; the dependency descriptor, which
/// is longer and rewritten, passes beside them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extensions {
    /// RFC 6464 §3: a bit of voice activity and seven of level in -dBov.
    pub audio_level: Option<u8>,
    /// Rotation in the low bits.
    pub video_orientation: Option<u8>,
    /// 0 unspecified, 1 screen content.
    pub video_content_type: Option<u8>,
    /// Least and most playout delay, 12 bits each, in steps of 10 ms: how a sender of games or
    /// remote desktops asks for no jitter buffer.
    pub playout_delay: Option<[u8; 3]>,
}

/// All that a received packet's extensions say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Received<'a> {
    pub mid: Option<&'a [u8]>,
    /// Of the stream itself, or of the one that it repairs.
    pub rid: Option<&'a [u8]>,
    pub transport_sequence_number: Option<u16>,
    pub passing: Extensions,
    /// Empty if there is none.
    pub descriptor: &'a [u8],
}

impl<'a> Received<'a> {
    /// Reads the extensions of a packet. An element of another length than its format's is left
    /// out, and so is one whose id was not negotiated.
    pub fn read(header: &Header, packet: &'a [u8], ids: &ExtensionIds) -> Received<'a> {
        let mut said = Received::default();
        for (id, value) in header.elements(packet) {
            match *value {
                _ if id == ids.mid => said.mid = Some(value),
                _ if id == ids.rid || id == ids.repaired_rid => said.rid = Some(value),
                _ if id == ids.dependency_descriptor => said.descriptor = value,
                [high, low] if id == ids.transport_sequence_number => {
                    said.transport_sequence_number = Some(u16::from_be_bytes([high, low]));
                }
                // Mixers' levels of several sources (RFC 6465) have another id.
                [byte] | [byte, 0] if id == ids.audio_level => {
                    said.passing.audio_level = Some(byte);
                }
                [byte] if id == ids.video_orientation => {
                    said.passing.video_orientation = Some(byte);
                }
                [byte] if id == ids.video_content_type => {
                    said.passing.video_content_type = Some(byte);
                }
                [a, b, c] if id == ids.playout_delay => {
                    said.passing.playout_delay = Some([a, b, c]);
                }
                _ => {}
            }
        }
        said
    }
}

impl Extensions {
    /// Writes those that the receiver negotiated.
    pub fn write(&self, ids: &ExtensionIds, writer: &mut Writer<'_>) {
        let bytes = [
            (ids.audio_level, self.audio_level),
            (ids.video_orientation, self.video_orientation),
            (ids.video_content_type, self.video_content_type),
        ];
        for (id, byte) in bytes {
            if let Some(byte) = byte {
                writer.element(id, &[byte]);
            }
        }
        if let Some(delays) = &self.playout_delay {
            writer.element(ids.playout_delay, delays);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rtp::Fixed;

    const FIXED: Fixed = Fixed { payload_type: 96, marker: false, seq: 1, timestamp: 2, ssrc: 3 };

    #[test]
    fn extensions_pass_by_the_ids_of_each_side() {
        let theirs = ExtensionIds {
            mid: 4,
            audio_level: 1,
            video_orientation: 13,
            video_content_type: 6,
            playout_delay: 5,
            transport_sequence_number: 3,
            ..Default::default()
        };
        let ours = ExtensionIds { audio_level: 9, playout_delay: 2, mid: 4, ..Default::default() };
        let sent = Extensions {
            audio_level: Some(0x80 | 37),
            video_orientation: Some(3),
            video_content_type: Some(1),
            playout_delay: Some([1, 2, 3]),
        };
        let mut packet = Vec::new();
        let mut writer = Writer::begin(&mut packet, FIXED, false);
        writer.element(4, b"a");
        writer.element(3, &[1, 2]);
        sent.write(&theirs, &mut writer);
        writer.end();
        let header = Header::parse(&packet).unwrap();
        let said = Received::read(&header, &packet, &theirs);
        assert_eq!((said.mid, said.transport_sequence_number), (Some(&b"a"[..]), Some(258)));
        assert_eq!(said.passing, sent);
        assert!(said.descriptor.is_empty());

        let mut packet = Vec::new();
        let mut writer = Writer::begin(&mut packet, FIXED, false);
        sent.write(&ours, &mut writer);
        writer.end();
        let header = Header::parse(&packet).unwrap();
        let passed = Received::read(&header, &packet, &ours).passing;
        let expected = Extensions {
            audio_level: sent.audio_level,
            playout_delay: sent.playout_delay,
            ..Extensions::default()
        };
        assert_eq!(passed, expected);
    }

    #[test]
    fn an_element_of_another_length_is_left_out() {
        let ids = ExtensionIds { video_orientation: 1, playout_delay: 2, ..Default::default() };
        let mut packet = Vec::new();
        let mut writer = Writer::begin(&mut packet, FIXED, false);
        writer.element(1, &[1, 2, 3]);
        writer.element(2, &[1]);
        writer.end();
        let header = Header::parse(&packet).unwrap();
        assert_eq!(Received::read(&header, &packet, &ids), Received::default());
    }
}
