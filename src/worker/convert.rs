//! Between `str0m`'s types and ours, and how each `Rtc` is configured.

use std::sync::Arc;

use str0m::RtcConfig;
use str0m::format::{Codec as StrCodec, CodecSpec, FormatParams};
use str0m::media::{Frequency, MediaTime};
use str0m::rtp::{Extension, ExtensionMap, ExtensionSerializer, ExtensionValues, VideoOrientation};

use crate::media::packet::Extensions;
use crate::wire::codec::{Codec, Kind};

/// A codec that we forward; `None` for one that we do not.
pub fn codec(spec: &CodecSpec) -> Option<Codec> {
    let format = &spec.format;
    Some(match spec.codec {
        StrCodec::Opus => Codec::Opus,
        StrCodec::Vp8 => Codec::Vp8,
        StrCodec::Vp9 => Codec::Vp9 { profile: format.profile_id.unwrap_or(0) as u8 },
        StrCodec::H264 => Codec::H264 {
            // RFC 6184 §8.1: without profile-level-id, Baseline; `42000a` is its default.
            profile: (format.profile_level_id.unwrap_or(0x42_000a) >> 8) as u16,
            mode: format.packetization_mode.unwrap_or(0),
        },
        StrCodec::Av1 => Codec::Av1 { profile: format.profile.unwrap_or(0) },
        _ => return None,
    })
}

/// The kind of an m-line.
pub fn kind(kind: str0m::media::MediaKind) -> Kind {
    match kind {
        str0m::media::MediaKind::Audio => Kind::Audio,
        str0m::media::MediaKind::Video => Kind::Video,
    }
}

/// The codecs and extensions that every peer may negotiate, ICE-lite, RTP mode. Payload types are
/// ours only until the offer names its own.
pub fn rtc_config() -> RtcConfig {
    let mut config = RtcConfig::new()
        .set_ice_lite(true)
        .set_rtp_mode(true)
        .clear_codecs()
        .enable_vp8(true)
        .enable_vp9(true)
        .enable_h264(true)
        .enable_av1(true)
        .set_extension_map(extension_map());
    config.codec_config().add_config(
        111.into(),
        None,
        StrCodec::Opus,
        Frequency::FORTY_EIGHT_KHZ,
        Some(2),
        FormatParams {
            min_p_time: Some(10),
            use_inband_fec: Some(true),
            use_dtx: Some(true),
            ..Default::default()
        },
    );
    config
}

fn extension_map() -> ExtensionMap {
    let mut map = ExtensionMap::standard();
    map.set(5, Extension::PlayoutDelay);
    map.set(6, Extension::VideoContentType);
    map.set(
        12,
        Extension::with_serializer(DEPENDENCY_DESCRIPTOR_URI, DependencyDescriptorSerializer),
    );
    map
}

const DEPENDENCY_DESCRIPTOR_URI: &str =
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";

/// A dependency descriptor's bytes, carried through unread.
#[derive(Debug, Clone, PartialEq, Eq)]
struct DependencyDescriptor(Arc<[u8]>);

#[derive(Debug)]
struct DependencyDescriptorSerializer;

impl ExtensionSerializer for DependencyDescriptorSerializer {
    fn write_to(&self, buf: &mut [u8], values: &ExtensionValues) -> usize {
        let Some(DependencyDescriptor(bytes)) = values.user_values.get() else {
            return 0;
        };
        let Some(place) = buf.get_mut(..bytes.len()) else {
            return 0;
        };
        place.copy_from_slice(bytes);
        bytes.len()
    }

    fn parse_value(&self, buf: &[u8], values: &mut ExtensionValues) -> bool {
        values.user_values.set(DependencyDescriptor(Arc::from(buf)));
        true
    }

    fn is_video(&self) -> bool {
        true
    }

    fn is_audio(&self) -> bool {
        false
    }

    /// The one-byte form holds 16 bytes (RFC 8285 §4.2); a template structure is longer.
    fn requires_two_byte_form(&self, values: &ExtensionValues) -> bool {
        values.user_values.get().is_some_and(|DependencyDescriptor(bytes)| bytes.len() > 16)
    }
}

fn hundredths(steps: u16) -> MediaTime {
    MediaTime::new(u64::from(steps), Frequency::HUNDREDTHS)
}

/// The extensions of a received packet that go on to subscribers.
pub fn extensions(values: &ExtensionValues) -> Extensions {
    Extensions {
        audio_level: values.audio_level.zip(values.voice_activity),
        video_orientation: values.video_orientation.map(|o| o as u8),
        video_content_type: values.video_content_type,
        playout_delay: values.play_delay_min.zip(values.play_delay_max).map(|(least, most)| {
            let steps = |time: MediaTime| time.rebase(Frequency::HUNDREDTHS).numer() as u16;
            (steps(least), steps(most))
        }),
        dependency_descriptor: values.user_values.get().map(|DependencyDescriptor(b)| b.clone()),
    }
}

/// Those extensions towards a subscriber; what it did not negotiate is left out by `str0m`.
pub fn extension_values(from: &Extensions, descriptor: Option<Arc<[u8]>>) -> ExtensionValues {
    let mut values = ExtensionValues {
        audio_level: from.audio_level.map(|(level, _)| level),
        voice_activity: from.audio_level.map(|(_, voice)| voice),
        video_orientation: from.video_orientation.map(VideoOrientation::from),
        video_content_type: from.video_content_type,
        play_delay_min: from.playout_delay.map(|(least, _)| hundredths(least)),
        play_delay_max: from.playout_delay.map(|(_, most)| hundredths(most)),
        ..Default::default()
    };
    if let Some(bytes) = descriptor {
        values.user_values.set(DependencyDescriptor(bytes));
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_pass_unchanged() {
        let descriptor: Arc<[u8]> = Arc::from(&[1u8, 2, 3, 4][..]);
        let sent = Extensions {
            audio_level: Some((-37, true)),
            video_orientation: Some(3),
            video_content_type: Some(1),
            playout_delay: Some((0, 400)),
            dependency_descriptor: Some(descriptor.clone()),
        };
        assert_eq!(extensions(&extension_values(&sent, Some(descriptor))), sent);
        let nothing = Extensions::default();
        assert_eq!(extensions(&extension_values(&nothing, None)), nothing);
    }

    #[test]
    fn a_long_descriptor_takes_the_two_byte_form() {
        let mut values = ExtensionValues::default();
        assert!(!DependencyDescriptorSerializer.requires_two_byte_form(&values));
        assert!(DependencyDescriptorSerializer.parse_value(&[7; 40], &mut values));
        assert!(DependencyDescriptorSerializer.requires_two_byte_form(&values));
        let mut buffer = [0; 64];
        assert_eq!(DependencyDescriptorSerializer.write_to(&mut buffer, &values), 40);
        assert_eq!(DependencyDescriptorSerializer.write_to(&mut [0; 8], &values), 0);
    }
}
