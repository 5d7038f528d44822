use super::*;
use crate::base::ids::TrackId;
use crate::base::limits::WANTS_MAX;
use crate::wire::signal::{Cause, SlotQuality, TrackWant, Want};

#[test]
fn how_pictures_fare_is_told_kept_and_told_again() {
    let mut w = World::new(1);
    let a = w.joined(1, "r", "a");
    let slot = |cause, paused| SlotQuality { mid: "2".into(), track: TrackId(7), cause, paused };
    let say = |w: &mut World, cause, paused| {
        w.letter(ToGate::Quality { session: a.address.session, slots: vec![slot(cause, paused)] });
    };
    say(&mut w, Cause::Ok, false);
    assert_eq!(w.text(a.conn)["slots"][0]["cause"], "ok");
    w.pass(Duration::from_millis(1_500));
    say(&mut w, Cause::Downlink, true);
    let told = w.text(a.conn);
    assert_eq!((&told["type"], &told["slots"][0]["paused"]), (&json!("quality"), &json!(true)));
    w.pass(Duration::from_millis(250));
    w.ask(9, "GET /api/rooms/r", "");
    let room: Value = serde_json::from_slice(&w.response(ConnId(9)).body).unwrap();
    let seen = &room["participants"][0]["slots"][0];
    assert_eq!((&seen["cause"], &seen["for_ms"]), (&json!("downlink"), &json!(250)));
    let before = json!([{"cause": "ok", "paused": false, "began_ms_ago": 1_750}]);
    assert_eq!(seen["before"], before);
    w.drop_socket(a.conn, None);
    let b = w.socket(2);
    w.say(b, json!({"type":"resume","id":5,"session":a.secret}));
    let RoomLetter::Resume { request, .. } = w.room_letter().1 else { panic!("a resume") };
    w.enter(a.address, request, true);
    assert!(matches!(w.next(), GateOutput::Admit { .. }));
    assert_eq!(w.text(b)["type"], "joined");
    assert_eq!(w.text(b)["slots"][0]["cause"], "downlink");
    w.letter(ToGate::Emptied { session: a.address.session, mid: "2".into() });
    w.ask(9, "GET /api/rooms/r", "");
    let room: Value = serde_json::from_slice(&w.response(ConnId(9)).body).unwrap();
    assert_eq!(room["participants"][0]["slots"], json!([]));
    w.ask(9, "GET /api/rooms/none", "");
    assert_eq!(w.response(ConnId(9)).status, 404);
}

#[test]
fn wants_go_to_the_room_within_limits() {
    let mut w = World::new(1);
    let a = w.joined(1, "r", "a");
    let track = TrackId(7);
    w.say(
        a.conn,
        json!({"type":"want","id":4,"tracks":[{"track":track,"width":320,"height":180}]}),
    );
    let RoomLetter::Want { wants, request, .. } = w.room_letter().1 else { panic!("a want") };
    let want = Want { width: 320, height: 180, ..Want::default() };
    assert_eq!(wants, [TrackWant { track, want }]);
    let to = vec![a.address.session];
    w.letter(ToGate::Event { to, message: ServerMessage::Ok { id: request.unwrap() } });
    assert_eq!(w.text(a.conn), json!({"type":"ok","id":4}));
    let many = vec![json!({"track":track}); WANTS_MAX + 1];
    w.say(a.conn, json!({"type":"want","id":5,"tracks":many}));
    assert_eq!(w.error(a.conn), "bad_message");
    w.say(a.conn, json!({"type":"rendered","id":6,"track":track,"ms":240}));
    assert_eq!(w.text(a.conn), json!({"type":"ok","id":6}));
    w.ask(9, "GET /metrics", "");
    let text = String::from_utf8(w.response(ConnId(9)).body.into_owned()).unwrap();
    assert!(text.contains("first_frame_rendered_seconds_bucket{le=\"0.3\"} 1"), "{text}");
}
