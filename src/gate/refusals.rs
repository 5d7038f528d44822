//! HTTP responses that say no, and who may read them.

use crate::wire::http::Response;
use crate::wire::signal::ErrorCode;

/// An error response for any page to read.
pub(super) fn refusal(code: ErrorCode, detail: &str) -> Response {
    let status = match code {
        ErrorCode::NotFound | ErrorCode::SessionGone => 404,
        ErrorCode::MethodNotAllowed => 405,
        ErrorCode::PreconditionFailed => 412,
        ErrorCode::TooLarge => 413,
        ErrorCode::UnsupportedMediaType => 415,
        ErrorCode::PreconditionRequired => 428,
        ErrorCode::RateLimited => 429,
        ErrorCode::ForeignOrigin => 403,
        ErrorCode::Internal => 500,
        ErrorCode::RoomFull
        | ErrorCode::TooManyPublishers
        | ErrorCode::ServerBusy
        | ErrorCode::Shutdown => 503,
        _ => 400,
    };
    let response = cors(Response::problem(status, code, detail));
    match status {
        // By then the source may begin some more.
        429 => response.with("Retry-After", "1"),
        503 => response.with("Retry-After", "5"),
        _ => response,
    }
}

/// For pages of other origins: WHIP and WHEP are an API for everybody.
pub(super) fn cors(response: Response) -> Response {
    response
        .with("Access-Control-Allow-Origin", "*")
        .with("Access-Control-Expose-Headers", "Location, ETag, Link, Accept-Patch")
}
