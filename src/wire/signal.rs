//! Signalling: one JSON object a WebSocket text frame, `wss://host:port/signal`.
//!
//! This file is the protocol's reference: every message type with an example; the examples are
//! parsed and re-written by the tests below. Every client message that carries an `id` (any
//! integer from 0 to 2^53) is answered exactly once: by the reply named below, by `ok`, or by
//! `error` with the same `id`. A client message without `id` is answered only by `error`.
//!
//! # Order
//!
//! `join` (or `resume`) first; all else before it is refused with `not_joined`. Then `offer`
//! whenever something to send or receive was added or removed: the client always offers, the
//! server always answers. What the client wants to send it offers `sendonly`; for what it wants
//! to receive it offers `recvonly` m-lines, *slots*. Which track sits in which slot the server
//! says in `slots`, and may change at any time without negotiation: only mids travel.
//!
//! # From the client
//!
//! | message | reply | meaning |
//! |---|---|---|
//! | `{"type":"join","id":1,"room":"standup","name":"Ada"}` | `joined` | enter a room, created when new; optional `token` |
//! | `{"type":"resume","id":1,"session":"k3…"}` | `joined` | take up a session whose WebSocket dropped, media untouched |
//! | `{"type":"offer","id":2,"sdp":"v=0…","tracks":[{"mid":"0","source":"camera","muted":false}]}` | `answer` | full SDP; `tracks` names what each sending mid is |
//! | `{"type":"candidate","candidate":"candidate:1 1 udp …","mid":"0"}` | | trickle ICE (RFC 8838); an empty `candidate` ends |
//! | `{"type":"update","id":3,"mid":"0","muted":true}` | `ok` | a track of one's own is muted or not; while it is, nothing of it is forwarded |
//! | `{"type":"update","mid":"0","muted":false,"limited":"cpu"}` | `ok` | the same, and what keeps it from being sent better: `none`, `cpu` or `bandwidth` |
//! | `{"type":"want","id":6,"tracks":[{"track":"t-aaaaaaaaaaad","width":320,"height":180},{"track":"t-aaaaaaaaaaae","width":1280,"height":720,"pinned":true,"max_fps":15},{"track":"t-aaaaaaaaaaaf","width":0,"height":0,"paused":true}]}` | `ok` | how these tracks of others are shown, in physical pixels, from now on; of the rest it holds what was said before, or all that there is |
//! | `{"type":"rendered","track":"t-aaaaaaaaaaad","ms":240}` | | its first picture was shown so long after it got its slot |
//! | `{"type":"leave","id":4}` | `ok` | leave at once; the server closes with 1000 |
//! | `{"type":"ping","id":5}` | `pong` | is anybody there |
//!
//! Which of a room's tracks a client gets when it has fewer slots than there are: those that it
//! pinned, screens, who had the word last, and then those that came first. Of microphones only the
//! loudest are in slots once there are more than a room forwards.
//!
//! `joined` also has `limits` where the server sets any: `camera_bitrate` and `screen_bitrate`, in
//! bit/s of all encodings of such a track together.
//!
//! `source` is one of `camera`, `microphone`, `screen`, `screen_audio`. Left out of `tracks`, a
//! mid is a camera or a microphone by its kind.
//!
//! A clean WebSocket close (code 1000 or 1001, so also a reload of the tab) leaves like `leave`.
//! Any other end keeps the session for `resume_grace_ms`.
//!
//! # From the server
//!
//! | message | meaning |
//! |---|---|
//! | `{"type":"joined","id":1,"room":"standup","participant":"p-aaaaaaaaaaab","session":"k3","resumed":false,"resume_grace_ms":6000,"ice_servers":[],"participants":[{"id":"p-aaaaaaaaaaac","name":"Bob","tracks":[{"id":"t-aaaaaaaaaaad","kind":"video","source":"camera","muted":false}]}],"slots":[]}` | one is in the room; everybody else in it, and what sits in one's slots |
//! | `{"type":"answer","id":2,"sdp":"v=0","tracks":[{"mid":"0","track":"t-aaaaaaaaaaad"}]}` | the answer, and the id of each track one sends |
//! | `{"type":"candidate","candidate":"candidate:1 1 udp 2130706431 192.0.2.1 8443 typ host","mid":"0"}` | an address of the server; an empty `candidate` ends |
//! | `{"type":"participant_joined","participant":{"id":"p-aaaaaaaaaaac","name":"Bob","tracks":[]}}` | |
//! | `{"type":"participant_left","participant":"p-aaaaaaaaaaac","reason":"left"}` | `left`, `lost` or `closed`; their tracks are gone with them |
//! | `{"type":"track_added","participant":"p-aaaaaaaaaaac","track":{"id":"t-aaaaaaaaaaad","kind":"audio","source":"microphone","muted":true}}` | |
//! | `{"type":"track_updated","participant":"p-aaaaaaaaaaac","track":{"id":"t-aaaaaaaaaaad","kind":"audio","source":"microphone","muted":false}}` | |
//! | `{"type":"track_removed","participant":"p-aaaaaaaaaaac","track":"t-aaaaaaaaaaad"}` | |
//! | `{"type":"track_error","track":"t-aaaaaaaaaaad","code":"codec_unsupported","message":"sent as AV1, which this client did not offer to receive"}` | that track cannot be shown here |
//! | `{"type":"slots","slots":[{"mid":"2","track":"t-aaaaaaaaaaad"},{"mid":"3","track":null}],"missing":{"audio":0,"video":1}}` | all slots as they are now, and how many more the room's tracks need |
//! | `{"type":"quality","slots":[{"mid":"2","track":"t-aaaaaaaaaaad","cause":"downlink","paused":true}]}` | how these slots fare from now on, and why: see [`Cause`]; of one that is paused nothing is sent |
//! | `{"type":"demand","tracks":[{"track":"t-aaaaaaaaaaad","width":640,"height":360}]}` | the largest at which anybody shows these tracks of one's own; larger ones need not be sent, and none at 0 |
//! | `{"type":"speakers","dominant":"p-aaaaaaaaaaac","speaking":["p-aaaaaaaaaaac"]}` | who has the word (`null` before anybody had it), and who speaks now |
//! | `{"type":"ok","id":3}` | |
//! | `{"type":"pong","id":5}` | |
//! | `{"type":"error","code":"not_joined","message":"join a room first","id":2}` | see [`ErrorCode`] |
//! | `{"type":"closing","reason":"shutdown"}` | the server ends this session; a close frame follows |

mod errors;
mod quality;

use serde::{Deserialize, Serialize};

use super::codec::Kind;
use crate::base::ids::{ParticipantId, TrackId};

pub use errors::ErrorCode;
pub use quality::{Cause, Limited, PublishLimits, SlotQuality, TrackDemand, TrackWant, Want};

/// A request's number, chosen by the client.
pub type RequestId = u64;

/// What a track shows or sounds like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Camera,
    Microphone,
    Screen,
    ScreenAudio,
}

impl Source {
    /// What a track is when its publisher did not say.
    pub fn of(kind: Kind) -> Source {
        match kind {
            Kind::Audio => Source::Microphone,
            Kind::Video => Source::Camera,
        }
    }

    /// The kind of media this source gives.
    pub fn kind(self) -> Kind {
        match self {
            Source::Camera | Source::Screen => Kind::Video,
            Source::Microphone | Source::ScreenAudio => Kind::Audio,
        }
    }
}

/// What the client says one of its sending mids is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackDescription {
    pub mid: String,
    pub source: Source,
    #[serde(default)]
    pub muted: bool,
}

/// From the client. See the table above.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientMessage {
    Join {
        room: String,
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<String>,
    },
    Resume {
        session: String,
    },
    Offer {
        sdp: String,
        #[serde(default)]
        tracks: Vec<TrackDescription>,
    },
    Candidate {
        candidate: String,
        #[serde(default)]
        mid: Option<String>,
    },
    Update {
        mid: String,
        muted: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limited: Option<Limited>,
    },
    Want {
        tracks: Vec<TrackWant>,
    },
    Rendered {
        track: TrackId,
        ms: u32,
    },
    Leave,
    Ping,
}

/// A client message with its request number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub id: Option<RequestId>,
    pub message: ClientMessage,
}

/// Why a client message was not understood; [`Request::parse`] gives the `id` where it could
/// still be read, so that the error can be matched to its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    pub id: Option<RequestId>,
    pub code: ErrorCode,
    pub message: String,
}

impl Request {
    /// Reads one text frame. Errors: `bad_json`, `unknown_type`, `bad_message`.
    pub fn parse(text: &str) -> Result<Request, ParseError> {
        let fail = |id, code, message: String| ParseError { id, code, message };
        let value: serde_json::Value = serde_json::from_str(text)
            .map_err(|e| fail(None, ErrorCode::BadJson, format!("not JSON: {e}")))?;
        let Some(object) = value.as_object() else {
            return Err(fail(None, ErrorCode::BadMessage, "not a JSON object".into()));
        };
        let id = match object.get("id") {
            None => None,
            Some(id) => Some(id.as_u64().filter(|id| *id <= 1 << 53).ok_or_else(|| {
                fail(None, ErrorCode::BadMessage, "\"id\" takes an integer from 0 to 2^53".into())
            })?),
        };
        let kind = match object.get("type") {
            Some(serde_json::Value::String(kind)) => kind.clone(),
            _ => {
                return Err(fail(id, ErrorCode::BadMessage, "\"type\" is missing".into()));
            }
        };
        let known =
            ["join", "resume", "offer", "candidate", "update", "want", "rendered", "leave", "ping"];
        if !known.contains(&kind.as_str()) {
            let shown: String = kind.chars().take(32).collect();
            return Err(fail(
                id,
                ErrorCode::UnknownType,
                format!("unknown type {shown:?}; known are {}", known.join(", ")),
            ));
        }
        match serde_json::from_value(value) {
            Ok(message) => Ok(Request { id, message }),
            Err(e) => Err(fail(id, ErrorCode::BadMessage, format!("{kind}: {e}"))),
        }
    }
}

/// An ICE server as `RTCIceServer` wants it (W3C WebRTC §4.2.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IceServer {
    pub urls: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// A track as everybody in the room sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackView {
    pub id: TrackId,
    pub kind: Kind,
    pub source: Source,
    pub muted: bool,
}

/// A participant as everybody in the room sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParticipantView {
    pub id: ParticipantId,
    pub name: String,
    pub tracks: Vec<TrackView>,
}

/// Which track sits in which slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotView {
    pub mid: String,
    pub track: Option<TrackId>,
}

/// How many more slots the room's tracks would fill.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingSlots {
    pub audio: usize,
    pub video: usize,
}

/// The id that one of the client's own mids got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnTrack {
    pub mid: String,
    pub track: TrackId,
}

fn is_unlimited(limits: &PublishLimits) -> bool {
    *limits == PublishLimits::default()
}

/// Why a participant is no longer in the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaveReason {
    /// They left.
    Left,
    /// Their connection was lost and did not come back in time.
    Lost,
    /// The server ended the session.
    Closed,
}

/// From the server. See the table above.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    Joined {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
        room: String,
        participant: ParticipantId,
        session: String,
        resumed: bool,
        resume_grace_ms: u64,
        ice_servers: Vec<IceServer>,
        #[serde(default, skip_serializing_if = "is_unlimited")]
        limits: PublishLimits,
        participants: Vec<ParticipantView>,
        slots: Vec<SlotView>,
    },
    Answer {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
        sdp: String,
        tracks: Vec<OwnTrack>,
    },
    Candidate {
        candidate: String,
        mid: String,
    },
    ParticipantJoined {
        participant: ParticipantView,
    },
    ParticipantLeft {
        participant: ParticipantId,
        reason: LeaveReason,
    },
    TrackAdded {
        participant: ParticipantId,
        track: TrackView,
    },
    TrackUpdated {
        participant: ParticipantId,
        track: TrackView,
    },
    TrackRemoved {
        participant: ParticipantId,
        track: TrackId,
    },
    TrackError {
        track: TrackId,
        code: ErrorCode,
        message: String,
    },
    Slots {
        slots: Vec<SlotView>,
        missing: MissingSlots,
    },
    Quality {
        slots: Vec<SlotQuality>,
    },
    Demand {
        tracks: Vec<TrackDemand>,
    },
    Speakers {
        dominant: Option<ParticipantId>,
        speaking: Vec<ParticipantId>,
    },
    Ok {
        id: RequestId,
    },
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
    },
    Error {
        code: ErrorCode,
        message: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
    },
    Closing {
        reason: ErrorCode,
    },
}

impl ServerMessage {
    /// The text frame.
    #[expect(clippy::expect_used, reason = "no map with other keys than strings, no failing impl")]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain structs with string keys serialise")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples in the tables of this file, by column position.
    fn examples(heading: &str) -> Vec<String> {
        let source = include_str!("signal.rs");
        let part = source.split(heading).nth(1).expect("the heading is there");
        let part = part.split("//! # ").next().expect("split gives one part");
        part.lines()
            .skip(1)
            .take_while(|l| l.starts_with("//!"))
            .filter_map(|l| l.strip_prefix("//! | `{"))
            .map(|l| format!("{{{}", l.split("` |").next().expect("a cell")))
            .collect()
    }

    #[test]
    fn every_client_example_parses() {
        let examples = examples("//! # From the client");
        assert_eq!(examples.len(), 10);
        for text in examples {
            let request = Request::parse(&text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
            let back = serde_json::to_string(&request.message).unwrap();
            assert_eq!(Request::parse(&back).unwrap().message, request.message);
        }
    }

    #[test]
    fn every_server_example_is_what_we_write() {
        let examples = examples("//! # From the server");
        assert_eq!(examples.len(), 17);
        for text in examples {
            let message: ServerMessage =
                serde_json::from_str(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
            let ours: serde_json::Value = serde_json::from_str(&message.to_json()).unwrap();
            let example: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(ours, example);
        }
    }

    #[test]
    fn the_first_error_is_named_and_keeps_its_id() {
        let code = |text| Request::parse(text).unwrap_err();
        assert_eq!(code("{").code, ErrorCode::BadJson);
        assert_eq!(code("[]").code, ErrorCode::BadMessage);
        assert_eq!(code("{\"id\":3}").id, Some(3));
        assert_eq!(code("{\"id\":-3,\"type\":\"ping\"}").code, ErrorCode::BadMessage);
        let unknown = code("{\"id\":7,\"type\":\"shout\"}");
        assert_eq!((unknown.id, unknown.code), (Some(7), ErrorCode::UnknownType));
        let missing = code("{\"id\":8,\"type\":\"join\",\"room\":\"x\"}");
        assert_eq!((missing.id, missing.code), (Some(8), ErrorCode::BadMessage));
        assert!(missing.message.contains("name"), "{}", missing.message);
    }
}
