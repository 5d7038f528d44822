//! Records of an unfinished handshake: what begins one belongs to it afterwards, to no other, and
//! not when it is cut short; without a handshake nothing but its beginning is let in.

use trackyard::wire::dtls::{Admission, admit};

pub fn check(datagram: &[u8]) {
    let known = [7; 32];
    match admit(datagram, None) {
        Some(Admission::Hello(random)) => {
            assert_eq!(admit(datagram, Some(random)), Some(Admission::Hello(random)));
            assert_eq!(admit(datagram, Some(random.map(|b| !b))), None);
        }
        // A later fragment of a ClientHello.
        Some(Admission::Flight) => assert!(admit(datagram, Some(known)).is_some()),
        None => {}
    }
    if admit(datagram, Some(known)).is_some() {
        let cut = &datagram[..datagram.len() - 1];
        assert_eq!(admit(cut, Some(known)), None);
    }
}
