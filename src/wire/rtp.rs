//! RTP headers (RFC 3550 §5.1) and their extensions (RFC 8285), read and written in place. Own code
//! rather than a crate: it is a page, it reads a header that is still protected, and it writes
//! straight into an arena.

/// The header of a packet, protected or not: SRTP leaves it in clear (RFC 3711 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub payload_type: u8,
    pub marker: bool,
    /// The payload ends in padding, which its last byte counts.
    pub padding: bool,
    pub seq: u16,
    /// In the clock of the payload type.
    pub timestamp: u32,
    pub ssrc: u32,
    /// Bytes before the payload, with contributing sources and extensions.
    pub bytes: usize,
    /// Where the extension begins, at its profile; [`Header::bytes`] if there is none.
    extension: usize,
}

const FIXED_BYTES: usize = 12;
/// RFC 8285 §4.2.
const PROFILE_ONE_BYTE: u16 = 0xbede;
/// RFC 8285 §4.3, whose low four bits are for applications.
const PROFILE_TWO_BYTE: u16 = 0x1000;
/// Ends a header of one-byte elements (RFC 8285 §4.2).
const ID_STOP: u8 = 15;

impl Header {
    /// Reads the header of a datagram; `None` if it is cut short or of another version.
    pub fn parse(datagram: &[u8]) -> Option<Header> {
        let ([first, second, s0, s1, t0, t1, t2, t3, a, b, c, d], _) =
            datagram.split_first_chunk::<FIXED_BYTES>()?;
        if first >> 6 != 2 {
            return None;
        }
        let extension = FIXED_BYTES + 4 * usize::from(first & 0x0f);
        let bytes = match first & 0x10 {
            0 => extension,
            _ => {
                let [_, _, l0, l1] = *datagram.get(extension..)?.first_chunk::<4>()?;
                extension + 4 + 4 * usize::from(u16::from_be_bytes([l0, l1]))
            }
        };
        (datagram.len() >= bytes).then_some(Header {
            payload_type: second & 0x7f,
            marker: second & 0x80 != 0,
            padding: first & 0x20 != 0,
            seq: u16::from_be_bytes([*s0, *s1]),
            timestamp: u32::from_be_bytes([*t0, *t1, *t2, *t3]),
            ssrc: u32::from_be_bytes([*a, *b, *c, *d]),
            bytes,
            extension,
        })
    }

    /// The extension elements of the packet that this header was read from: id and value.
    pub fn elements<'a>(&self, packet: &'a [u8]) -> impl Iterator<Item = (u8, &'a [u8])> {
        let (profile, mut rest) = packet
            .get(self.extension..self.bytes)
            .and_then(<[u8]>::split_first_chunk::<4>)
            .map_or((0, &[][..]), |([p0, p1, ..], rest)| (u16::from_be_bytes([*p0, *p1]), rest));
        std::iter::from_fn(move || {
            loop {
                let (first, tail) = rest.split_first()?;
                if *first == 0 {
                    // Padding between elements.
                    rest = tail;
                    continue;
                }
                let (id, bytes, tail) = match profile {
                    PROFILE_ONE_BYTE if first >> 4 == ID_STOP => return None,
                    PROFILE_ONE_BYTE => (first >> 4, usize::from(first & 0x0f) + 1, tail),
                    _ if profile & 0xfff0 == PROFILE_TWO_BYTE => {
                        let (bytes, tail) = tail.split_first()?;
                        (*first, usize::from(*bytes), tail)
                    }
                    _ => return None,
                };
                let (value, tail) = tail.split_at_checked(bytes)?;
                rest = tail;
                return Some((id, value));
            }
        })
    }

    /// Where the payload ends that begins at [`Header::bytes`], given the opened packet without
    /// its tag; `None` if the padding is longer than what there is.
    pub fn payload_end(&self, packet: &[u8]) -> Option<usize> {
        if !self.padding {
            return Some(packet.len());
        }
        let padding = usize::from(*packet.last()?);
        let end = packet.len().checked_sub(padding)?;
        (padding > 0 && end >= self.bytes).then_some(end)
    }
}

/// What stands in the fixed part of a header that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fixed {
    pub payload_type: u8,
    pub marker: bool,
    pub seq: u16,
    pub timestamp: u32,
    pub ssrc: u32,
}

/// Writes headers at the end of a buffer: the fixed part, then extension elements, then the end.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    two_byte: bool,
}

impl<'a> Writer<'a> {
    /// Begins a header. `two_byte` elements may have more than 16 bytes or ids beyond 14; a
    /// receiver takes them if it negotiated `a=extmap-allow-mixed` or any such id.
    pub fn begin(out: &'a mut Vec<u8>, fixed: Fixed, two_byte: bool) -> Writer<'a> {
        let start = out.len();
        let [s0, s1] = fixed.seq.to_be_bytes();
        let [t0, t1, t2, t3] = fixed.timestamp.to_be_bytes();
        let [a, b, c, d] = fixed.ssrc.to_be_bytes();
        let second = fixed.payload_type & 0x7f | u8::from(fixed.marker) << 7;
        out.extend_from_slice(&[0x80, second, s0, s1, t0, t1, t2, t3, a, b, c, d, 0, 0, 0, 0]);
        Writer { out, start, two_byte }
    }

    /// Appends an element, and gives the place of its value; one that the form cannot hold is left
    /// out, as is id 0.
    pub fn element(&mut self, id: u8, value: &[u8]) -> &mut [u8] {
        match (self.two_byte, value.len()) {
            (_, bytes) if id == 0 || bytes > 255 => return &mut [],
            (true, bytes) => self.out.extend_from_slice(&[id, bytes as u8]),
            (false, bytes @ 1..=16) if id < ID_STOP => self.out.push(id << 4 | (bytes - 1) as u8),
            (false, _) => return &mut [],
        }
        let at = self.out.len();
        self.out.extend_from_slice(value);
        self.out.get_mut(at..).unwrap_or_default()
    }

    /// Whether elements have heads of two bytes.
    pub fn is_two_byte(&self) -> bool {
        self.two_byte
    }

    /// Ends the header; how many bytes it has.
    pub fn end(self) -> usize {
        let Writer { out, start, two_byte } = self;
        let body = start + FIXED_BYTES + 4;
        if out.len() == body {
            out.truncate(start + FIXED_BYTES);
            return FIXED_BYTES;
        }
        let bytes = out.len() - body;
        out.resize(body + bytes.next_multiple_of(4), 0);
        let profile = if two_byte { PROFILE_TWO_BYTE } else { PROFILE_ONE_BYTE };
        let words = (bytes.div_ceil(4) as u16).to_be_bytes();
        if let Some(first) = out.get_mut(start) {
            *first |= 0x10;
        }
        if let Some([p0, p1, l0, l1]) = out.get_mut(start + FIXED_BYTES..body) {
            [*p0, *p1] = profile.to_be_bytes();
            [*l0, *l1] = words;
        }
        out.len() - start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIXED: Fixed =
        Fixed { payload_type: 96, marker: true, seq: 65_535, timestamp: 7, ssrc: 0xdead_beef };

    fn written(two_byte: bool, elements: &[(u8, &[u8])]) -> Vec<u8> {
        let mut out = vec![0xff; 3];
        let mut writer = Writer::begin(&mut out, FIXED, two_byte);
        for (id, value) in elements {
            writer.element(*id, value);
        }
        let bytes = writer.end();
        let packet = out.split_off(3);
        assert_eq!(packet.len(), bytes);
        packet
    }

    #[test]
    fn what_was_written_is_read() {
        let long = [9; 40];
        for (two_byte, elements) in [
            (false, &[][..]),
            (false, &[(1, &[5][..]), (3, &[1, 2]), (14, &[7; 16])][..]),
            (true, &[(1, &[5][..]), (16, &long[..]), (2, &[])][..]),
        ] {
            let mut packet = written(two_byte, elements);
            packet.extend([1, 2, 3]);
            let header = Header::parse(&packet).unwrap();
            assert_eq!((header.payload_type, header.marker), (96, true));
            assert_eq!((header.seq, header.timestamp, header.ssrc), (65_535, 7, 0xdead_beef));
            assert_eq!(header.bytes, packet.len() - 3);
            assert_eq!(header.bytes % 4, 0);
            let read: Vec<_> = header.elements(&packet).collect();
            assert_eq!(read, elements);
            assert_eq!(header.payload_end(&packet), Some(packet.len()));
        }
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        assert_eq!(written(false, &[(15, &[1]), (1, &[0; 17]), (2, &[]), (0, &[1])]).len(), 12);
        assert_eq!(written(true, &[(0, &[1]), (1, &[0; 256])]).len(), 12);
    }

    #[test]
    fn a_header_cut_short_is_none() {
        let mut packet = written(false, &[(1, &[5])]);
        packet[0] |= 2;
        packet.splice(12..12, [0; 8]);
        assert_eq!(Header::parse(&packet).unwrap().elements(&packet).count(), 1);
        for cut in 0..packet.len() {
            assert_eq!(Header::parse(&packet[..cut]), None, "cut at {cut}");
        }
        packet[0] &= 0x3f;
        assert_eq!(Header::parse(&packet), None, "another version");
    }

    #[test]
    fn padding_is_counted_and_never_believed_beyond_the_payload() {
        let mut packet = written(false, &[]);
        packet[0] |= 0x20;
        let header = Header::parse(&packet).unwrap();
        let end = |tail: &[u8]| header.payload_end(&[&packet[..], tail].concat());
        assert_eq!(end(&[1, 2, 3, 0, 0, 3]), Some(12 + 3));
        assert_eq!(end(&[0, 0, 3]), Some(12), "nothing but padding");
        assert_eq!(end(&[0, 0, 4]), None);
        assert_eq!(end(&[0, 0, 0]), None);
    }

    #[test]
    fn broken_elements_end_the_reading() {
        let mut packet = written(false, &[(1, &[5]), (2, &[6, 7])]);
        let at = packet.len() - 8 + 4;
        for id_and_length in 0..=255u8 {
            packet[at] = id_and_length;
            let header = Header::parse(&packet).unwrap();
            assert!(header.elements(&packet).count() <= 3);
        }
        packet[12..14].copy_from_slice(&[0, 0]);
        let header = Header::parse(&packet).unwrap();
        assert_eq!(header.elements(&packet).count(), 0, "an unknown profile");
    }
}
