//! What only operators may see.

use crate::common::live::http;
use crate::server::Server;

#[test]
fn metrics_and_rooms_are_for_this_machine_or_for_the_token() {
    let open = Server::start(1);
    let token = "correct-horse-battery";
    let closed = Server::start_with(1, &["--metrics-token", token], None);
    for path in ["/metrics", "/api/rooms"] {
        let ask = |server: &Server, header: &str| {
            let (status, head, body) =
                http(server.address, &format!("GET {path} HTTP/1.1{header}"), "");
            assert!(status == 200 || head.contains("application/problem+json"), "{head}");
            assert!(status == 200 || !body.contains("trackyard_"), "{body}");
            status
        };
        assert_eq!(ask(&open, ""), 200);
        assert_eq!(ask(&open, "\r\nX-Forwarded-For: 203.0.113.9"), 403, "came by a proxy");
        assert_eq!(ask(&closed, ""), 401);
        assert_eq!(ask(&closed, "\r\nAuthorization: Bearer wrong"), 401);
        assert_eq!(ask(&closed, &format!("\r\nAuthorization: Bearer {token}")), 200);
    }
    assert!(!closed.log().contains(token), "a token stands in no log");
}
