//! What a DTLS 1.2 server may take from a client before the handshake is done, when nothing is
//! authenticated yet (RFC 6347 §4.1, §4.2): exactly the messages of its flights, and no alert.

/// The client's random, which names its handshake attempt.
pub type Random = [u8; 32];

/// What a datagram is to a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It holds (the beginning of) a ClientHello with this random.
    Hello(Random),
    /// It belongs to a later flight, or is a later fragment.
    Flight,
}

const RECORD_HEADER_BYTES: usize = 13;
const MESSAGE_HEADER_BYTES: usize = 12;
/// The largest handshake message: a certificate chain, generously.
const MESSAGE_BYTES_MAX: u32 = 16 * 1024;

const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;

/// Handshake messages of a client in the order of their `message_seq`: ClientHello, Certificate,
/// ClientKeyExchange, CertificateVerify. Finished is protected. WebRTC clients always have a
/// certificate (RFC 8827 §6.5), and no cookie is asked of them.
const FLIGHT: [u8; 4] = [CLIENT_HELLO, 11, 16, 15];

/// Whether each record of a datagram may belong to the handshake that `accepted` began (`None`:
/// none has begun). `None` if one does not, or is cut short: then nothing of it may be used.
pub fn admit(mut datagram: &[u8], accepted: Option<Random>) -> Option<Admission> {
    let mut hello = None;
    loop {
        let header = datagram.first_chunk::<RECORD_HEADER_BYTES>()?;
        let [kind, 0xfe, _, e0, e1, _, _, _, _, _, _, l0, l1] = *header else {
            return None;
        };
        let end = RECORD_HEADER_BYTES + usize::from(u16::from_be_bytes([l0, l1]));
        let fragment = datagram.get(RECORD_HEADER_BYTES..end)?;
        match (u16::from_be_bytes([e0, e1]), kind) {
            (0, HANDSHAKE) => {
                messages(fragment, accepted, &mut hello)?;
            }
            (0, CHANGE_CIPHER_SPEC) if accepted.is_some() && fragment == [1] => {}
            // Protected, so whoever sent it is about to be known.
            (1, _) if accepted.is_some() => {}
            _ => return None,
        }
        datagram = datagram.get(end..)?;
        if datagram.is_empty() {
            return Some(hello.map_or(Admission::Flight, Admission::Hello));
        }
    }
}

/// The handshake messages (or fragments) of one record; `hello` is the random of a ClientHello in
/// the same datagram. `None` if one of them has no place in the handshake.
fn messages(mut record: &[u8], accepted: Option<Random>, hello: &mut Option<Random>) -> Option<()> {
    while !record.is_empty() {
        let header = record.first_chunk::<MESSAGE_HEADER_BYTES>()?;
        let [kind, a, b, c, s0, s1, o0, o1, o2, f0, f1, f2] = *header;
        let length = u32::from_be_bytes([0, a, b, c]);
        let offset = u32::from_be_bytes([0, o0, o1, o2]);
        let bytes = u32::from_be_bytes([0, f0, f1, f2]);
        let seq = usize::from(u16::from_be_bytes([s0, s1]));
        if FLIGHT.get(seq) != Some(&kind) || length > MESSAGE_BYTES_MAX || offset + bytes > length {
            return None;
        }
        let end = MESSAGE_HEADER_BYTES + bytes as usize;
        let fragment = record.get(MESSAGE_HEADER_BYTES..end)?;
        if kind != CLIENT_HELLO {
            accepted?;
        } else if offset == 0 {
            // Two bytes of version stand before the random (RFC 5246 §7.4.1.2).
            let random: Random = fragment.get(2..34)?.try_into().ok()?;
            // Two of them in one datagram are two handshakes as well.
            if accepted.or(*hello).is_some_and(|known| known != random) {
                return None;
            }
            *hello = Some(random);
        }
        record = record.get(end..)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, epoch: u8, fragment: &[u8]) -> Vec<u8> {
        let mut record =
            vec![kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 0, 0, fragment.len() as u8];
        record.extend_from_slice(fragment);
        record
    }

    fn message(kind: u8, seq: u8, body: &[u8]) -> Vec<u8> {
        let length = body.len() as u8;
        let mut message = vec![kind, 0, 0, length, 0, seq, 0, 0, 0, 0, 0, length];
        message.extend_from_slice(body);
        message
    }

    fn hello(random: u8) -> Vec<u8> {
        let mut body = vec![0xfe, 0xfd];
        body.extend([random; 32]);
        body.extend([0; 8]);
        record(HANDSHAKE, 0, &message(CLIENT_HELLO, 0, &body))
    }

    #[test]
    fn one_hello_and_then_its_flight() {
        assert_eq!(admit(&hello(1), None), Some(Admission::Hello([1; 32])));
        assert_eq!(admit(&hello(1), Some([1; 32])), Some(Admission::Hello([1; 32])), "once more");
        assert_eq!(admit(&hello(2), Some([1; 32])), None, "somebody else's");
        let mut flight = record(HANDSHAKE, 0, &message(11, 1, &[0; 20]));
        flight.extend(record(HANDSHAKE, 0, &message(16, 2, &[0; 20])));
        flight.extend(record(CHANGE_CIPHER_SPEC, 0, &[1]));
        flight.extend(record(HANDSHAKE, 1, &[7; 40]));
        assert_eq!(admit(&flight, Some([1; 32])), Some(Admission::Flight));
        assert_eq!(admit(&flight, None), None, "nothing before the hello");
        let whole = (0..flight.len()).filter(|cut| admit(&flight[..*cut], Some([1; 32])).is_some());
        assert_eq!(whole.collect::<Vec<_>>(), [45, 90, 104], "only at the ends of records");
    }

    #[test]
    fn what_has_no_place_is_refused() {
        let accepted = Some([1; 32]);
        for epoch in [0, 2, 3] {
            assert_eq!(admit(&record(21, epoch, &[2, 40]), accepted), None, "alert");
        }
        assert_eq!(admit(&record(23, 0, b"data"), accepted), None, "unprotected data");
        assert_eq!(admit(&record(HANDSHAKE, 0, &message(11, 2, &[])), accepted), None, "order");
        assert_eq!(admit(&record(HANDSHAKE, 0, &message(20, 4, &[0; 12])), accepted), None);
        assert_eq!(admit(&record(HANDSHAKE, 0, &message(16, 90, &[])[..]), accepted), None);
        assert_eq!(admit(&[], accepted), None);
        let mut trailing = hello(1);
        trailing.push(22);
        assert_eq!(admit(&trailing, None), None, "what is cut short");
        let twice = [hello(1), hello(1)].concat();
        assert_eq!(admit(&twice, None), Some(Admission::Hello([1; 32])));
        assert_eq!(admit(&[hello(1), hello(2)].concat(), None), None, "two handshakes");
    }
}
