//! What viewers want of tracks, what they get, and why.

use serde::{Deserialize, Serialize};

use crate::base::ids::TrackId;

/// What a viewer wants of one track. Who said nothing wants all of it, as large as it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// The largest at which it is shown, in physical pixels; 0 in either: it is not seen.
    #[serde(default = "any_size")]
    pub width: u16,
    #[serde(default = "any_size")]
    pub height: u16,
    /// It matters most to this viewer.
    #[serde(default, skip_serializing_if = "is_false")]
    pub pinned: bool,
    /// Nothing of it is to be sent for now.
    #[serde(default, skip_serializing_if = "is_false")]
    pub paused: bool,
    /// As many frames a second as are of use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_fps: Option<u8>,
}

impl Default for Want {
    fn default() -> Want {
        Want { width: any_size(), height: any_size(), pinned: false, paused: false, max_fps: None }
    }
}

impl Want {
    /// Whether anything of it is shown.
    pub fn is_seen(&self) -> bool {
        !self.paused && self.width > 0 && self.height > 0
    }
}

fn any_size() -> u16 {
    u16::MAX
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The same with the track that is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackWant {
    pub track: TrackId,
    #[serde(flatten)]
    pub want: Want,
}

/// What keeps a publisher from sending as well as it might
/// (`RTCOutboundRtpStreamStats.qualityLimitationReason`, W3C webrtc-stats).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limited {
    #[default]
    None,
    Cpu,
    Bandwidth,
}

/// Why a viewer sees of a track what they see: the one thing that would have to change first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It is all that there is a use for.
    Ok,
    /// The publisher's line carries no more, or nothing comes of it.
    PublisherUplink,
    /// The publisher's device encodes no more.
    PublisherCpu,
    /// The viewer's line would not carry more even if it carried this alone.
    Downlink,
    /// The viewer's line carries this, and others with it that come first or get their share.
    AllocatorLimit,
    /// The viewer does not see it, or paused it.
    PausedByViewer,
    /// Nothing can be shown before a keyframe comes.
    WaitingKeyframe,
    /// The viewer cannot decode what the publisher sends.
    CodecUnsupported,
    /// The server has more to do than it can.
    ServerOverload,
}

impl Cause {
    /// As it stands in JSON and metrics, in the order of their discriminants.
    pub const ALL: [(Cause, &'static str); 9] = [
        (Cause::Ok, "ok"),
        (Cause::PublisherUplink, "publisher_uplink"),
        (Cause::PublisherCpu, "publisher_cpu"),
        (Cause::Downlink, "downlink"),
        (Cause::AllocatorLimit, "allocator_limit"),
        (Cause::PausedByViewer, "paused_by_viewer"),
        (Cause::WaitingKeyframe, "waiting_keyframe"),
        (Cause::CodecUnsupported, "codec_unsupported"),
        (Cause::ServerOverload, "server_overload"),
    ];
}

/// How one of a viewer's slots fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotQuality {
    pub mid: String,
    /// What sits in the slot, so that nobody takes it for what sat there before.
    pub track: TrackId,
    pub cause: Cause,
    /// Nothing of it is sent now: its last frame is no picture of anything.
    pub paused: bool,
}

/// The size at which the viewers of a track see it; what its publisher need not send otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackDemand {
    pub track: TrackId,
    /// Of the largest at which anybody shows it, in physical pixels; 0: nobody does.
    pub width: u16,
    pub height: u16,
}

/// What one participant may send, so that its page need not find out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishLimits {
    /// In bit/s, of all encodings together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera_bitrate: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub screen_bitrate: Option<u64>,
}
