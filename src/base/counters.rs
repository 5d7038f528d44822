//! Plain counters. Each worker owns one set and sends a copy to the gate once a second.

use std::time::Duration;

use super::histogram::{Sizes, Times, Waits};

/// Why a datagram or packet was not used. Each is one label of `trackyard_dropped_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
pub enum DropReason {
    /// First byte belongs to no protocol of RFC 7983.
    UnknownProtocol,
    /// STUN that is not a well-formed Binding request with a USERNAME.
    MalformedStun,
    /// STUN for a ufrag that this server did not mint or no longer serves.
    UnknownUfrag,
    /// STUN whose MESSAGE-INTEGRITY does not fit its ufrag.
    StunIntegrity,
    /// A check that came before, from another address.
    StunReplay,
    /// A check from one address more than a peer may have.
    AddressLimit,
    /// A check from an address that another peer is using.
    AddressTaken,
    /// DTLS, RTP or RTCP from an address without a validated ICE check.
    UnknownAddress,
    /// Media beyond what a peer may send.
    MediaRate,
    /// RTCP beyond what a peer may send.
    RtcpRate,
    /// RTCP whose tag does not fit, or from before there were keys.
    RtcpForged,
    /// The first packet of a stream, with a tag that is not the client's.
    RtpForged,
    /// RTCP that came before.
    RtcpReplay,
    /// RTCP that nobody acts on, such as estimates of bandwidth.
    RtcpUnused,
    /// A retransmission that a subscriber may not have (again, so soon, so much).
    NackRefused,
    /// Something that `str0m` could not parse or refused.
    Refused,
    /// A packet of a stream that belongs to no track.
    UnknownStream,
    /// A packet in a payload type that was not negotiated, or a codec the slot cannot take.
    Codec,
    /// A packet of a track that is muted, as its publisher said.
    Muted,
    /// Packets of which feedback spoke, but which were never sent or not lately.
    FeedbackUnknown,
    /// More packets of a track in one turn than may be kept.
    TrackFull,
    /// A packet that came before.
    RtpReplay,
    /// A retransmission of what is there already, or of nothing that is known.
    RtxUnused,
    /// Packets before a slot's first keyframe.
    AwaitingKeyframe,
    /// Older than where the slot's present track began.
    Stale,
    /// Of a layer that the subscriber does not get.
    Layer,
    /// Without payload.
    Padding,
    /// Waited too long for its turn to leave.
    Paced,
    /// The media lane of a mailbox was full.
    MailboxFull,
    /// The socket would not take it (`EAGAIN`, `ENOBUFS`).
    SocketFull,
    /// Any other error of the socket on sending.
    SendError,
    /// A datagram longer than [`super::limits::DATAGRAM_BYTES_MAX`] that came, or than
    /// [`super::limits::DATAGRAM_OUT_BYTES_MAX`] that was to leave.
    Oversize,
}

impl DropReason {
    /// All reasons with their metric label, in the order of their discriminants.
    pub const ALL: [(DropReason, &'static str); 32] = [
        (DropReason::UnknownProtocol, "unknown_protocol"),
        (DropReason::MalformedStun, "malformed_stun"),
        (DropReason::UnknownUfrag, "unknown_ufrag"),
        (DropReason::StunIntegrity, "stun_integrity"),
        (DropReason::StunReplay, "stun_replay"),
        (DropReason::AddressLimit, "address_limit"),
        (DropReason::AddressTaken, "address_taken"),
        (DropReason::UnknownAddress, "unknown_address"),
        (DropReason::MediaRate, "media_rate"),
        (DropReason::RtcpRate, "rtcp_rate"),
        (DropReason::RtcpForged, "rtcp_forged"),
        (DropReason::RtpForged, "rtp_forged"),
        (DropReason::RtcpReplay, "rtcp_replay"),
        (DropReason::RtcpUnused, "rtcp_unused"),
        (DropReason::NackRefused, "nack_refused"),
        (DropReason::Refused, "refused"),
        (DropReason::UnknownStream, "unknown_stream"),
        (DropReason::Codec, "codec"),
        (DropReason::Muted, "muted"),
        (DropReason::FeedbackUnknown, "feedback_unknown"),
        (DropReason::TrackFull, "track_full"),
        (DropReason::RtpReplay, "rtp_replay"),
        (DropReason::RtxUnused, "rtx_unused"),
        (DropReason::AwaitingKeyframe, "awaiting_keyframe"),
        (DropReason::Stale, "stale"),
        (DropReason::Layer, "layer"),
        (DropReason::Padding, "padding"),
        (DropReason::Paced, "paced"),
        (DropReason::MailboxFull, "mailbox_full"),
        (DropReason::SocketFull, "socket_full"),
        (DropReason::SendError, "send_error"),
        (DropReason::Oversize, "oversize"),
    ];
}

/// What one worker counted since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams that reached this worker's core.
    pub datagrams_in: u64,
    /// Their bytes (UDP payload).
    pub bytes_in: u64,
    /// Datagrams handed to the socket.
    pub datagrams_out: u64,
    /// Their bytes (UDP payload).
    pub bytes_out: u64,
    /// System calls that sent them.
    pub send_calls: u64,
    /// RTP packets that publishers sent.
    pub packets_in: u64,
    /// RTP packets written towards subscribers.
    pub packets_forwarded: u64,
    /// RTP packets copied to another worker.
    pub packets_relayed: u64,
    /// Datagrams handed to the worker that owns their peer.
    pub datagrams_handed: u64,
    /// Keyframe requests sent to publishers.
    pub keyframe_requests: u64,
    /// Keyframes that came from publishers.
    pub keyframes: u64,
    /// NACKs sent to publishers.
    pub nacks_sent: u64,
    /// Packets that transport feedback of subscribers said arrived, or were lost.
    pub feedback_arrived: u64,
    pub feedback_lost: u64,
    /// Packets sent again to subscribers.
    pub packets_resent: u64,
    /// From when a client wanted a picture to when the first keyframe of it left; and how many of
    /// these took over [`FIRST_FRAME_SLOW`], by what kept them last.
    pub first_frames: Waits,
    pub slow_first_frames: [u64; CAUSES],
    /// Times that media went to another address of a client because the present one was silent.
    pub path_moves: u64,
    /// Rooms (or all of a worker) that ended because handling them panicked.
    pub panics: u64,
    /// Peers that were lost, or refused, because `str0m` panicked on what they sent.
    pub transport_faults: u64,
    /// How much of pictures is left out now since there is no time for it, from 0 to 3.
    pub shed_level: u64,
    /// Peers now.
    pub peers: u64,
    /// Rooms whose home is here, now.
    pub rooms: u64,
    /// From when a datagram may first have been in the socket to when what it caused had left, for
    /// each datagram that left but the answers of an idle worker.
    pub residence: Times,
    /// What each turn of the loop took, waiting left out; and each of its stages.
    pub turns: Times,
    pub stages: [Times; Stage::ALL.len()],
    /// Datagrams that came, and that left, in one turn.
    pub batches_in: Sizes,
    pub batches_out: Sizes,
    drops: [u64; DropReason::ALL.len()],
}

/// As many causes there are for a picture to be as it is.
pub const CAUSES: usize = 9;
/// A first frame that takes longer is late.
pub const FIRST_FRAME_SLOW: Duration = Duration::from_secs(1);

/// What a turn of a worker's loop does, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Takes datagrams from the socket.
    Receive,
    /// Verifies, decrypts and reads them.
    Open,
    /// Finds who gets what.
    Route,
    /// Writes and seals what they get.
    Seal,
    /// Gives it to the socket.
    Send,
}

impl Stage {
    /// All stages with their metric label, in the order of their discriminants.
    pub const ALL: [(Stage, &'static str); 5] = [
        (Stage::Receive, "receive"),
        (Stage::Open, "open"),
        (Stage::Route, "route"),
        (Stage::Seal, "seal"),
        (Stage::Send, "send"),
    ];
}

#[expect(clippy::indexing_slicing, reason = "a place for every reason, in their order")]
impl Counters {
    /// A picture's first keyframe left so long after it was wanted; `cause` is the place of what kept
    /// it last.
    pub fn first_frame(&mut self, took: Duration, cause: usize) {
        self.first_frames.observe(took);
        if took > FIRST_FRAME_SLOW
            && let Some(count) = self.slow_first_frames.get_mut(cause)
        {
            *count += 1;
        }
    }

    /// Counts `n` dropped for `reason`.
    pub fn drop(&mut self, reason: DropReason, n: u64) {
        self.drops[reason as usize] += n;
    }

    /// What a stage of each turn took.
    pub fn stage(&mut self, stage: Stage, took: Duration) {
        self.stages[stage as usize].observe(took, 1);
    }

    /// How many were dropped for `reason`.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_counts_apart() {
        let mut c = Counters::default();
        for (i, (reason, _)) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, i);
            c.drop(*reason, i as u64 + 1);
        }
        for (i, (reason, _)) in DropReason::ALL.iter().enumerate() {
            assert_eq!(c.dropped(*reason), i as u64 + 1);
        }
    }
}
