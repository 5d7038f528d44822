//! The codes of what went wrong.

use serde::{Deserialize, Serialize};

/// Stable error codes. In HTTP they are the last part of a problem's `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Not JSON.
    BadJson,
    /// JSON, but a field is missing or takes something else.
    BadMessage,
    /// A `type` that is not in the table.
    UnknownType,
    /// Over the limit of one message; the connection closes with 1009.
    TooLarge,
    /// Something other than `join` or `resume` came first.
    NotJoined,
    /// `join` or `resume` for the second time.
    AlreadyJoined,
    /// A room or display name that is empty, too long, or has control characters.
    BadName,
    /// `resume` for a session that is gone; `join` again.
    SessionGone,
    /// The room has as many members as it may.
    RoomFull,
    /// As many send in the room as may.
    TooManyPublishers,
    /// The session description was refused; `message` says why.
    BadSdp,
    /// A mid that this client does not send on.
    UnknownMid,
    /// A candidate that is not `candidate:…` (RFC 8839 §5.1).
    BadCandidate,
    /// As many sessions or rooms as there may be, or a queue inside is full.
    ServerBusy,
    /// Too many sessions of one address, or too many requests of one session, in too little time;
    /// again in a second.
    RateLimited,
    /// The server is ending.
    Shutdown,
    /// Something broke on our side; the session ends, and may join again.
    Internal,
    /// A track's codec was not offered by this receiver.
    CodecUnsupported,
    /// HTTP: no such resource.
    NotFound,
    /// HTTP: another method is needed.
    MethodNotAllowed,
    /// HTTP: another content type is needed.
    UnsupportedMediaType,
    /// HTTP: `If-Match` is missing.
    PreconditionRequired,
    /// HTTP: `If-Match` names another ICE session.
    PreconditionFailed,
    /// HTTP or WebSocket: a page of another origin.
    ForeignOrigin,
    /// HTTP: not a well-formed request.
    BadRequest,
    /// HTTP: a token is needed.
    Unauthorized,
    /// HTTP: not for clients from there.
    Forbidden,
}

impl ErrorCode {
    /// The code as it stands in JSON and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorCode::BadJson => "bad_json",
            ErrorCode::BadMessage => "bad_message",
            ErrorCode::UnknownType => "unknown_type",
            ErrorCode::TooLarge => "too_large",
            ErrorCode::NotJoined => "not_joined",
            ErrorCode::AlreadyJoined => "already_joined",
            ErrorCode::BadName => "bad_name",
            ErrorCode::SessionGone => "session_gone",
            ErrorCode::RoomFull => "room_full",
            ErrorCode::TooManyPublishers => "too_many_publishers",
            ErrorCode::BadSdp => "bad_sdp",
            ErrorCode::UnknownMid => "unknown_mid",
            ErrorCode::BadCandidate => "bad_candidate",
            ErrorCode::ServerBusy => "server_busy",
            ErrorCode::RateLimited => "rate_limited",
            ErrorCode::Shutdown => "shutdown",
            ErrorCode::Internal => "internal",
            ErrorCode::CodecUnsupported => "codec_unsupported",
            ErrorCode::NotFound => "not_found",
            ErrorCode::MethodNotAllowed => "method_not_allowed",
            ErrorCode::UnsupportedMediaType => "unsupported_media_type",
            ErrorCode::PreconditionRequired => "precondition_required",
            ErrorCode::PreconditionFailed => "precondition_failed",
            ErrorCode::ForeignOrigin => "foreign_origin",
            ErrorCode::BadRequest => "bad_request",
            ErrorCode::Unauthorized => "unauthorized",
            ErrorCode::Forbidden => "forbidden",
        }
    }
}
