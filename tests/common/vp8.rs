//! Synthetic VP8: not pictures, but payloads whose descriptor and frame header say what real ones
//! would, so that a receiver can tell whether a decoder could follow.

/// Makes the packets of a stream's frames.
#[derive(Debug)]
pub struct Encoder {
    picture_id: u16,
    tl0: u8,
    /// Packets of a keyframe, of a thousand bytes each.
    pub keyframe_packets: usize,
}

impl Default for Encoder {
    fn default() -> Self {
        Encoder { picture_id: 0, tl0: 0, keyframe_packets: 4 }
    }
}

impl Encoder {
    /// One frame as RTP payloads. `label` names the publisher, so that a receiver sees whose
    /// frame it got; a keyframe spans several packets as in life.
    pub fn frame(&mut self, keyframe: bool, label: u32, number: u32) -> Vec<Vec<u8>> {
        let packets = if keyframe { self.keyframe_packets } else { 1 };
        let [high, low] = (self.picture_id & 0x7fff | 0x8000).to_be_bytes();
        let payloads = (0..packets).map(|i| {
            let mut p = vec![0x80 | u8::from(i == 0) << 4, 0xe0, high, low, self.tl0, 0x20];
            if i == 0 {
                p.push(u8::from(!keyframe));
            }
            p.extend_from_slice(&label.to_be_bytes());
            p.extend_from_slice(&number.to_be_bytes());
            p.resize(if keyframe { 1_000 } else { 300 }, 0x55);
            p
        });
        let payloads = payloads.collect();
        self.picture_id = self.picture_id.wrapping_add(1);
        self.tl0 = self.tl0.wrapping_add(1);
        payloads
    }
}

/// Whose frame a payload belongs to, and which one.
pub fn frame_of(payload: &[u8]) -> (u32, u32) {
    let at = if payload[0] & 0x10 != 0 { 7 } else { 6 };
    let number = |at: usize| payload[at..at + 4].try_into().expect("four bytes");
    (u32::from_be_bytes(number(at)), u32::from_be_bytes(number(at + 4)))
}

/// What a decoder would make of one stream.
#[derive(Debug, Default)]
pub struct Judge {
    /// A whole keyframe came and every frame since.
    pub decodable: bool,
    pub keyframes: u64,
    pub frames: u64,
    /// Sequence numbers that jumped, timestamps that went back, picture ids with a gap.
    pub faults: Vec<String>,
    /// Whose frames: the label of the last one.
    pub label: Option<u32>,
    last_seq: Option<u64>,
    /// Of the newest packet.
    pub last_timestamp: Option<u32>,
    last_picture_id: Option<u16>,
    in_keyframe: bool,
    broken: bool,
}

impl Judge {
    /// Forgets that a keyframe came: what follows must bring another.
    pub fn expect_anew(&mut self) {
        self.decodable = false;
    }

    /// One RTP packet, in the order of arrival on a link without loss.
    pub fn take(&mut self, seq: u64, timestamp: u32, marker: bool, payload: &[u8]) {
        if let Some(last) = self.last_seq
            && seq != last + 1
        {
            self.faults.push(format!("sequence number {seq} after {last}"));
            self.broken = true;
        }
        self.last_seq = Some(seq);
        if let Some(last) = self.last_timestamp
            && (timestamp.wrapping_sub(last) as i32) < 0
        {
            self.faults.push(format!("timestamp {timestamp} after {last}"));
        }
        self.last_timestamp = Some(timestamp);
        let id = u16::from_be_bytes([payload[2] & 0x7f, payload[3]]);
        if let Some(last) = self.last_picture_id
            && id != last
            && id != (last + 1) & 0x7fff
        {
            self.faults.push(format!("picture id {id} after {last}"));
        }
        self.last_picture_id = Some(id);
        self.label = Some(frame_of(payload).0);
        if payload[0] & 0x10 != 0 {
            self.in_keyframe = payload[6] & 1 == 0;
            self.broken &= !self.in_keyframe;
        }
        if marker && !self.broken {
            self.frames += 1;
            if self.in_keyframe {
                self.keyframes += 1;
                self.decodable = true;
            }
        }
    }
}
