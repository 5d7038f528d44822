//! Between `str0m`'s types and ours, and how each `Rtc` is configured.

use std::time::Duration;

use str0m::format::{Codec as StrCodec, CodecSpec, FormatParams};
use str0m::media::{Frequency, Mid};
use str0m::rtp::{Extension, ExtensionMap, ExtensionSerializer, ExtensionValues};
use str0m::{Rtc, RtcConfig};

use super::slot::{Agreed, Line, SlotCodec};
use super::streams::PayloadType;
use crate::media::extensions::{DEPENDENCY_DESCRIPTOR_URI, ExtensionIds};
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

/// `str0m` has no media to report on. What it would say it keeps for a session that has no keys, so
/// this is longer than any lasts.
const NO_REPORTS: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);

/// The codecs and extensions that every peer may negotiate, ICE-lite. Payload types are ours only
/// until the offer names its own.
pub fn rtc_config() -> RtcConfig {
    let mut config = RtcConfig::new()
        .set_ice_lite(true)
        .set_rtcp_report_interval_audio(NO_REPORTS)
        .set_rtcp_report_interval_video(NO_REPORTS)
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
    map.set(12, Extension::with_serializer(DEPENDENCY_DESCRIPTOR_URI, Unread));
    map
}

/// `str0m` negotiates it, and sees none.
#[derive(Debug)]
struct Unread;

impl ExtensionSerializer for Unread {
    fn write_to(&self, _: &mut [u8], _: &ExtensionValues) -> usize {
        0
    }

    fn parse_value(&self, _: &[u8], _: &mut ExtensionValues) -> bool {
        false
    }

    fn is_video(&self) -> bool {
        true
    }

    fn is_audio(&self) -> bool {
        false
    }

    fn requires_two_byte_form(&self, _: &ExtensionValues) -> bool {
        false
    }
}

/// What each payload type was negotiated for.
pub fn payload_types(rtc: &Rtc) -> Vec<(u8, PayloadType)> {
    let mut all = Vec::new();
    for params in rtc.codec_config().params() {
        let Some(codec) = codec(&params.spec()) else { continue };
        let repeats = params.fb_nack();
        all.push((*params.pt(), PayloadType::Media { codec, repeats }));
        if let Some(rtx) = params.resend() {
            all.push((*rtx, PayloadType::Rtx { of: *params.pt() }));
        }
    }
    all
}

/// The extensions that were negotiated on any m-line: all of one transport agree on the ids
/// (RFC 8843 §9.2.3).
pub fn ids(rtc: &Rtc, mids: &[String]) -> ExtensionIds {
    let mut ids = ExtensionIds::default();
    let medias = mids.iter().filter_map(|mid| rtc.media(Mid::from(mid.as_str())));
    medias.for_each(|media| read_ids(media.remote_extmap(), &mut ids));
    ids
}

fn read_ids(map: &ExtensionMap, ids: &mut ExtensionIds) {
    for (id, extension) in map.iter() {
        if let Some(place) = ids.of_uri(extension.as_uri()) {
            *place = id;
        }
    }
}

/// What was negotiated for an m-line on which we send; `None` if there is none.
pub fn agreed(rtc: &mut Rtc, mid: Mid, name: &str, line: Line) -> Option<Agreed> {
    let (ssrc, rtx_ssrc) = {
        let mut direct = rtc.direct_api();
        let stream = direct.stream_tx_by_mid(mid, None)?;
        (*stream.ssrc(), stream.rtx().map(|rtx| *rtx))
    };
    let media = rtc.media(mid)?;
    let mut ids = ExtensionIds::default();
    read_ids(media.remote_extmap(), &mut ids);
    let params = rtc.codec_config().params();
    let usable = media.remote_pts().iter().filter_map(|pt| {
        let params = params.iter().find(|params| params.pt() == *pt)?;
        let rtx = params.resend().map(|rtx| *rtx);
        Some(SlotCodec { codec: codec(&params.spec())?, payload_type: **pt, rtx })
    });
    let codecs = usable.collect();
    let kind = kind(media.kind());
    let (name, cname) = (name.to_owned(), media.cname().to_owned());
    Some(Agreed { line, mid, name, kind, codecs, ssrc, rtx_ssrc, cname, ids })
}
