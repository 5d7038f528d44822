//! RTP packets as a browser's writes and reads them (RFC 3550 §5.1, RFC 8285).

/// A packet in clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rtp {
    pub payload_type: u8,
    pub marker: bool,
    pub seq: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    pub extensions: Vec<(u8, Vec<u8>)>,
    pub payload: Vec<u8>,
}

impl Rtp {
    /// The packet, and how long its header is. One without a payload is padded with `padding`
    /// bytes.
    pub fn write(&self, padding: u8) -> (Vec<u8>, usize) {
        let mut out = vec![0x80, self.payload_type | u8::from(self.marker) << 7];
        out.extend(self.seq.to_be_bytes());
        out.extend(self.timestamp.to_be_bytes());
        out.extend(self.ssrc.to_be_bytes());
        if !self.extensions.is_empty() {
            out[0] |= 0x10;
            let is_long = |(id, value): &(u8, Vec<u8>)| *id > 14 || value.len() > 16;
            let two_byte = self.extensions.iter().any(is_long);
            let mut elements = Vec::new();
            for (id, value) in &self.extensions {
                match two_byte {
                    true => elements.extend([*id, value.len() as u8]),
                    false => elements.push(id << 4 | (value.len() - 1) as u8),
                }
                elements.extend(value);
            }
            elements.resize(elements.len().next_multiple_of(4), 0);
            out.extend(if two_byte { [0x10, 0] } else { [0xbe, 0xde] });
            out.extend((elements.len() as u16 / 4).to_be_bytes());
            out.extend(elements);
        }
        let header = out.len();
        out.extend(&self.payload);
        if padding > 0 {
            out[0] |= 0x20;
            out.resize(out.len() + usize::from(padding) - 1, 0);
            out.push(padding);
        }
        (out, header)
    }

    /// How long the header of a packet is, which may still be sealed.
    pub fn header_bytes(packet: &[u8]) -> usize {
        let fixed = 12 + 4 * usize::from(packet[0] & 0x0f);
        match packet[0] & 0x10 {
            0 => fixed,
            _ => fixed + 4 + 4 * usize::from(word(packet, fixed + 2)),
        }
    }

    /// Reads an opened packet, without its tag.
    pub fn read(packet: &[u8]) -> Rtp {
        let header = Rtp::header_bytes(packet);
        let mut extensions = Vec::new();
        if packet[0] & 0x10 != 0 {
            let fixed = 12 + 4 * usize::from(packet[0] & 0x0f);
            let profile = word(packet, fixed);
            assert!(profile == 0xbede || profile == 0x1000, "{profile:x}");
            let mut rest = &packet[fixed + 4..header];
            while let [first, tail @ ..] = rest {
                let (id, bytes, tail) = match (*first, profile) {
                    (0, _) => {
                        rest = tail;
                        continue;
                    }
                    (first, 0xbede) => (first >> 4, usize::from(first & 15) + 1, tail),
                    (first, _) => (first, usize::from(tail[0]), &tail[1..]),
                };
                extensions.push((id, tail[..bytes].to_vec()));
                rest = &tail[bytes..];
            }
        }
        let padding = if packet[0] & 0x20 != 0 { packet[packet.len() - 1] } else { 0 };
        let long = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().expect("four"));
        Rtp {
            payload_type: packet[1] & 0x7f,
            marker: packet[1] & 0x80 != 0,
            seq: word(packet, 2),
            timestamp: long(4),
            ssrc: long(8),
            extensions,
            payload: packet[header..packet.len() - usize::from(padding)].to_vec(),
        }
    }

    pub fn extension(&self, id: u8) -> Option<&[u8]> {
        self.extensions.iter().find(|(own, _)| *own == id).map(|(_, value)| &value[..])
    }
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// The number of more bits that a number of 16 stands for, nearest to the last.
pub fn nearest(last: u64, seq: u16) -> u64 {
    let ahead = seq.wrapping_sub(last as u16).cast_signed();
    last.saturating_add_signed(ahead.into())
}
