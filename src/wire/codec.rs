//! Codecs by the parameters that decide whether one peer's packets decode at another.

use serde::{Serialize, Serializer};

/// Audio or video.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Audio,
    Video,
}

/// A codec as negotiated, without its payload type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// RFC 7587.
    Opus,
    /// RFC 7741.
    Vp8,
    /// RFC 9628; `profile` is `profile-id`.
    Vp9 { profile: u8 },
    /// RFC 6184; `profile` is the first two bytes of `profile-level-id` (profile_idc and
    /// constraint flags), `mode` the `packetization-mode`.
    H264 { profile: u16, mode: u8 },
    /// AV1 RTP specification 1.0; `profile` as in its SDP parameters.
    Av1 { profile: u8 },
}

impl Codec {
    /// The kind of media it carries.
    pub fn kind(self) -> Kind {
        match self {
            Codec::Opus => Kind::Audio,
            _ => Kind::Video,
        }
    }

    /// RTP clock rate in Hz.
    pub fn clock_hz(self) -> u32 {
        match self {
            Codec::Opus => 48_000,
            _ => 90_000,
        }
    }

    /// The encoding name of its `a=rtpmap` (RFC 8866 §6.6).
    pub fn name(self) -> &'static str {
        match self {
            Codec::Opus => "opus",
            Codec::Vp8 => "VP8",
            Codec::Vp9 { .. } => "VP9",
            Codec::H264 { .. } => "H264",
            Codec::Av1 { .. } => "AV1",
        }
    }

    /// How well a receiver that negotiated `self` decodes a stream sent as `sent`: 0 not at all,
    /// higher is closer. Constrained Baseline H264 decodes in every profile (RFC 6184 §8.1 and
    /// table 5: its constraints satisfy Baseline, Main and High decoders).
    pub fn accepts(self, sent: Codec) -> u8 {
        match (self, sent) {
            (a, b) if a == b => 2,
            (Codec::H264 { mode: a, profile }, Codec::H264 { mode: b, profile: sent })
                if a == b =>
            {
                let same_profile = is_constrained_baseline(profile)
                    == is_constrained_baseline(sent)
                    && profile >> 8 == sent >> 8;
                u8::from(same_profile || is_constrained_baseline(sent))
            }
            _ => 0,
        }
    }
}

/// profile_idc 66 with constraint_set1, or 77/88 with constraint_set0 (RFC 6184 table 5).
fn is_constrained_baseline(profile: u16) -> bool {
    let (idc, flags) = (profile >> 8, profile & 0xff);
    match idc {
        0x42 => flags & 0x40 != 0,
        0x4d => flags & 0x80 != 0,
        0x58 => flags & 0xc0 == 0xc0,
        _ => false,
    }
}

impl Serialize for Codec {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h264_profiles_meet_only_where_they_decode() {
        let h264 = |profile, mode| Codec::H264 { profile, mode };
        assert_eq!(h264(0x42e0, 1).accepts(h264(0x42e0, 1)), 2);
        assert_eq!(h264(0x6400, 1).accepts(h264(0x42e0, 1)), 1);
        assert_eq!(h264(0x42e0, 1).accepts(h264(0x6400, 1)), 0);
        assert_eq!(h264(0x42e0, 1).accepts(h264(0x42e0, 0)), 0);
        assert_eq!(h264(0x42e0, 1).accepts(h264(0x4200, 1)), 0);
        assert_eq!(h264(0x640c, 1).accepts(h264(0x6400, 1)), 1);
        assert_eq!(Codec::Vp8.accepts(Codec::Vp9 { profile: 0 }), 0);
        assert_eq!(Codec::Vp9 { profile: 0 }.accepts(Codec::Vp9 { profile: 2 }), 0);
    }
}
