//! WHIP (RFC 9725) and WHEP: a POST becomes a session, its answer the response.

use std::borrow::Cow;
use std::time::Instant;

use super::refusals::{cors, refusal};
use super::requests::{Asked, Request};
use super::sessions::{Newcomer, Session};
use super::{ConnId, Gate};
use crate::base::ids::SessionId;
use crate::base::limits::SDP_BYTES_MAX;
use crate::room::mail::{Answer, IceCredentials, PeerLetter, Role, ToWorker};
use crate::wire::http::{self, Head, Response, percent_decode};
use crate::wire::names::{NAME_RULE, display_name, room_name};
use crate::wire::sdpfrag::{self, first_value};
use crate::wire::signal::{ErrorCode, IceServer, LeaveReason};

const SDP: &str = "application/sdp";
const SDP_FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// What a WHIP or WHEP session has beyond a participant's.
#[derive(Debug, Default)]
pub(super) struct Resource {
    /// The offer, until the room let the session in.
    offer: String,
    /// The client's ICE credentials; others in a PATCH ask for an ICE restart.
    client_ice: (String, String),
    /// Names the ICE session: the server's ufrag in quotes.
    etag: String,
    /// What an ICE restart's fragment begins with.
    skeleton: String,
    restart: Option<Restart>,
}

/// An ICE restart that the peer has yet to answer.
#[derive(Debug)]
struct Restart {
    number: Option<u64>,
    client_ice: (String, String),
}

/// Which of the two protocols a POST speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Whip,
    Whep,
}

impl Gate {
    /// `POST /whip/…` and `POST /whep/…`. Refusals are returned, the rest is answered later.
    pub(super) fn create_resource(
        &mut self,
        now: Instant,
        conn: ConnId,
        protocol: Protocol,
        (room, name): (&str, Option<&str>),
        request: http::Request,
    ) -> Result<(), Response> {
        if !request.head.is_content_type(SDP) {
            return Err(unsupported(SDP).with("Accept-Post", SDP));
        }
        if request.body.len() > SDP_BYTES_MAX {
            let detail = format!("an offer takes {SDP_BYTES_MAX} bytes");
            return Err(refusal(ErrorCode::TooLarge, &detail));
        }
        let room = segment(room, room_name)?;
        let name = name.map(|name| segment(name, display_name)).transpose()?;
        let offer = String::from_utf8(request.body);
        let offer = offer.map_err(|_| refusal(ErrorCode::BadSdp, "the offer is not UTF-8"))?;
        let ice = |field| first_value(&offer, field).unwrap_or_default().to_owned();
        let client_ice = (ice("a=ice-ufrag:"), ice("a=ice-pwd:"));
        let (role, name) = match protocol {
            Protocol::Whip => {
                let random = || format!("whip-{}", self.rng.token(4));
                (Role::Whip, name.unwrap_or_else(random))
            }
            Protocol::Whep => {
                let random = format!("whep-{}", self.rng.token(4));
                (Role::Whep { only: name }, random)
            }
        };
        let newcomer = Newcomer {
            conn,
            id: None,
            room,
            name,
            role,
            resource: Some(Resource { offer, client_ice, ..Resource::default() }),
        };
        let session = self.begin_session(now, newcomer);
        let session = session.map_err(|(code, why)| refusal(code, why))?;
        self.waiting.insert(conn, session);
        Ok(())
    }

    /// The room let a WHIP or WHEP session in: its peer comes next.
    pub(super) fn offer_of_resource(&mut self, now: Instant, joined: Request) {
        let session = self.sessions.get_mut(joined.session);
        let resource = session.and_then(|s| s.resource.as_mut());
        let Some(offer) = resource.map(|r| std::mem::take(&mut r.offer)) else {
            return;
        };
        let request = Request { asked: Asked::Offer, ..joined };
        self.post_offer(now, request, offer, Vec::new());
    }

    /// The peer answered: 201.
    pub(super) fn resource_created(&mut self, request: Request, answer: Answer) {
        let Some(session) = self.sessions.get_mut(request.session) else {
            return;
        };
        // From here on the session lives without the connection.
        session.link = None;
        let location = format!("/session/{}", session.secret);
        let etag = etag(&answer.ice);
        log::info!(
            "created {} room={:?} name={:?} {}",
            session.role.label(),
            session.room,
            session.name,
            session.address.participant
        );
        if let Some(resource) = &mut session.resource {
            resource.etag = etag.clone();
            resource.skeleton = sdpfrag::skeleton(&answer.sdp);
        }
        self.waiting.remove(&request.conn);
        let mut response = Response::new(201, SDP, answer.sdp)
            .with("Location", location)
            .with("ETag", etag)
            .with("Accept-Patch", SDP_FRAGMENT)
            .with("Cache-Control", "no-store");
        for link in self.config.ice_servers.iter().flat_map(ice_links) {
            response = response.with("Link", link);
        }
        self.respond(request.conn, cors(response));
    }

    /// A worker refused what a waiting HTTP client asked.
    pub(super) fn refuse_resource(&mut self, conn: ConnId, code: ErrorCode, message: &str) {
        if self.waiting.remove(&conn).is_some() {
            self.respond(conn, refusal(code, message));
        }
    }

    /// The client closed the connection that its response was to go to. Without the response it
    /// does not know the session, so a new one is undone; a restart goes on.
    pub(super) fn http_client_gone(&mut self, id: SessionId, conn: ConnId) {
        if self.sessions.get(id).and_then(|s| s.link) == Some(conn) {
            let why = "the client left before the answer";
            self.end_session(id, (LeaveReason::Lost, ErrorCode::SessionGone, why));
        }
    }

    /// `DELETE /session/…`.
    pub(super) fn delete_resource(&mut self, secret: &str) -> Response {
        match self.resource(secret) {
            Ok(id) => {
                let end = (LeaveReason::Left, ErrorCode::SessionGone, "deleted");
                self.end_session(id, end);
                Response::empty(200)
            }
            Err(response) => response,
        }
    }

    /// `PATCH /session/…`: trickled candidates, or an ICE restart, which is answered later.
    ///
    /// RFC 9725 §4.3: `If-Match` is needed and must name the present ICE session or be `*`. New
    /// credentials are what makes it a restart (RFC 8839 §4.4.1.1.1): `*` with the old ones is
    /// trickle that does not care which ICE session it meets.
    pub(super) fn patch_resource(
        &mut self,
        now: Instant,
        conn: ConnId,
        secret: &str,
        request: &http::Request,
    ) -> Result<(), Response> {
        let id = self.resource(secret)?;
        let session = self.sessions.get(id);
        let Some((session, resource)) = session.and_then(|s| Some((s, s.resource.as_ref()?)))
        else {
            return Err(unknown());
        };
        if !request.head.is_content_type(SDP_FRAGMENT) {
            return Err(unsupported(SDP_FRAGMENT).with("Accept-Patch", SDP_FRAGMENT));
        }
        check_if_match(&request.head, &resource.etag)?;
        let bad = |detail| refusal(ErrorCode::BadSdp, detail);
        let fragment = sdpfrag::parse(&request.body).ok_or_else(|| bad("not an SDP fragment"))?;
        let client_ice = match (fragment.ufrag, fragment.pwd) {
            (Some(ufrag), Some(pwd)) => (ufrag, pwd),
            (None, None) => resource.client_ice.clone(),
            _ => return Err(bad("ice-ufrag and ice-pwd come together")),
        };
        if client_ice == resource.client_ice {
            self.respond(conn, cors(Response::empty(204)));
            return Ok(());
        }
        if resource.restart.is_some() {
            let detail = "an ICE restart is being answered";
            return Err(cors(Response::problem(409, ErrorCode::ServerBusy, detail)));
        }
        let address = session.address;
        let (ufrag, pwd) = client_ice.clone();
        let restart = PeerLetter::RestartIce { ufrag, pwd };
        let number = self.ask(now, Request { session: id, conn, id: None, asked: Asked::Restart });
        self.waiting.insert(conn, id);
        let session = self.sessions.get_mut(id);
        if let Some(resource) = session.and_then(|s| s.resource.as_mut()) {
            resource.restart = Some(Restart { number, client_ice });
        }
        let letter = ToWorker::Peer(address.participant, restart);
        self.post(address.worker, letter);
        Ok(())
    }

    /// The peer has new credentials, or would not.
    pub(super) fn restarted(&mut self, id: SessionId, result: Result<IceCredentials, String>) {
        let session = self.sessions.get_mut(id);
        let resource = session.and_then(|s| s.resource.as_mut());
        let Some(restart) = resource.and_then(|r| r.restart.take()) else {
            return;
        };
        let request = self.answered(restart.number);
        let Some(resource) = self.sessions.get_mut(id).and_then(|s| s.resource.as_mut()) else {
            return;
        };
        let response = match result {
            Ok(ice) => {
                resource.client_ice = restart.client_ice;
                resource.etag = etag(&ice);
                let body =
                    sdpfrag::restarted(&resource.skeleton, &ice.ufrag, &ice.pwd, &ice.candidates);
                Response::new(200, SDP_FRAGMENT, body).with("ETag", resource.etag.clone())
            }
            Err(message) => Response::problem(500, ErrorCode::Internal, &message),
        };
        if let Some(conn) = request.map(|r| r.conn)
            && self.waiting.remove(&conn).is_some()
        {
            self.respond(conn, cors(response));
        }
    }

    /// No worker answered an ICE restart. The session goes on as it was (RFC 9725 §4.3.3).
    pub(super) fn refuse_restart(&mut self, request: Request, why: &'static str) {
        let session = self.sessions.get_mut(request.session);
        if let Some(resource) = session.and_then(|s| s.resource.as_mut()) {
            resource.restart = None;
        }
        self.refuse_resource(request.conn, ErrorCode::Internal, why);
    }

    fn resource(&self, secret: &str) -> Result<SessionId, Response> {
        let session = self.sessions.by_secret(secret);
        let is_resource = |s: &&Session| s.resource.is_some();
        session.filter(is_resource).map(|s| s.id).ok_or_else(unknown)
    }
}

fn unknown() -> Response {
    refusal(ErrorCode::NotFound, "no such session")
}

fn unsupported(wanted: &str) -> Response {
    let detail = format!("Content-Type must be {wanted}");
    refusal(ErrorCode::UnsupportedMediaType, &detail)
}

fn segment(text: &str, check: fn(&str) -> Option<&str>) -> Result<String, Response> {
    let detail = "a percent escape in the path is broken";
    let text = percent_decode(text).ok_or_else(|| refusal(ErrorCode::BadRequest, detail))?;
    let name = check(&text).ok_or_else(|| refusal(ErrorCode::BadName, NAME_RULE))?;
    Ok(name.to_owned())
}

fn etag(ice: &IceCredentials) -> String {
    format!("\"{}\"", ice.ufrag)
}

fn check_if_match(head: &Head, etag: &str) -> Result<(), Response> {
    let Some(wanted) = head.header("if-match") else {
        let detail = "If-Match with the session's ETag, or *, is needed";
        return Err(refusal(ErrorCode::PreconditionRequired, detail));
    };
    if wanted.split(',').any(|tag| ["*", etag].contains(&tag.trim())) {
        return Ok(());
    }
    let detail = "If-Match names another ICE session";
    Err(refusal(ErrorCode::PreconditionFailed, detail))
}

/// The `Link` headers of one ICE server (RFC 9725 §4.6).
fn ice_links(server: &IceServer) -> Vec<Cow<'static, str>> {
    let quote = |value: &str| format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
    let link = |url: &String| {
        let mut link = format!("<{url}>; rel=\"ice-server\"");
        if let (Some(username), Some(credential)) = (&server.username, &server.credential) {
            link += &format!(
                "; username={}; credential={}; credential-type=\"password\"",
                quote(username),
                quote(credential)
            );
        }
        Cow::Owned(link)
    };
    server.urls.iter().map(link).collect()
}

impl Protocol {
    /// By the first path segment.
    pub(super) fn of(segment: &str) -> Option<Protocol> {
        match segment {
            "whip" => Some(Protocol::Whip),
            "whep" => Some(Protocol::Whep),
            _ => None,
        }
    }
}
