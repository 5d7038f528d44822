//! Encoders: no pictures, but frames that refer to each other as those of real ones do, in payloads
//! that say so.

pub mod av1;
pub mod descriptor;
pub mod h264;
pub mod vp8;
pub mod vp9;

use std::time::Duration;

use descriptor::Describer;

/// What is sent of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Vp8,
    H264,
    Vp9,
    /// With the references of each frame in its packets.
    Vp9Flexible,
    Av1,
    /// Encrypted from end to end: the descriptor alone says what a packet is.
    Opaque,
}

/// The layers of an encoding, and which frames refer to which.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    pub spatial: u8,
    pub temporal: u8,
    /// Spatial layers depend on each other at key pictures alone.
    pub key: bool,
    /// Of so many rounds of temporal layers, in one the upper ones refer to nothing older.
    pub sync_every: u32,
}

/// Which temporal layers come in turn.
fn round(temporal: u8) -> &'static [u8] {
    match temporal {
        1 => &[0],
        2 => &[0, 1],
        _ => &[0, 2, 1, 2],
    }
}

impl Layout {
    /// Whether a viewer of a layer decodes a frame.
    pub fn needs(&self, (spatial, temporal): (u8, u8), frame: &Frame) -> bool {
        let is_below = frame.spatial < spatial && (!self.key || frame.of_key_picture);
        frame.temporal <= temporal && (frame.spatial == spatial || is_below)
    }
}

/// One frame, in an encoding with spatial layers of one of them: what is true of it.
#[derive(Debug, Clone)]
pub struct Frame {
    pub id: u32,
    pub encoding: u8,
    /// Of the encoding's stream: each begins with a keyframe.
    pub ssrc: u32,
    /// Counted over the life.
    pub picture: u32,
    pub number: u32,
    /// Since the last key picture.
    pub phase: u32,
    pub spatial: u8,
    pub temporal: u8,
    pub of_key_picture: bool,
    /// Of its picture.
    pub is_highest: bool,
    /// The upper layers of this round refer to nothing before it.
    pub is_sync_round: bool,
    /// Ids, pictures, and numbers of the frames that it refers to.
    pub references: Vec<Reference>,
    pub captured: Duration,
    pub timestamp: u32,
    /// The first packet's number, and when each reached the server.
    pub first_seq: u64,
    pub arrived: Vec<Option<Duration>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference {
    pub id: u32,
    pub picture: u32,
    pub number: u32,
}

impl Frame {
    pub fn starts_keyframe(&self) -> bool {
        self.of_key_picture && self.spatial == 0
    }

    pub fn as_reference(&self) -> Reference {
        Reference { id: self.id, picture: self.picture, number: self.number }
    }

    /// Whether all of it reached the server.
    pub fn is_whole(&self) -> bool {
        self.arrived.iter().all(Option::is_some)
    }

    pub fn first_arrival(&self) -> Option<Duration> {
        self.arrived.iter().flatten().min().copied()
    }

    pub fn last_arrival(&self) -> Option<Duration> {
        self.arrived.iter().flatten().max().copied()
    }
}

/// A packet's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    pub payload: Vec<u8>,
    pub descriptor: Vec<u8>,
    pub marker: bool,
}

/// One encoding's encoder, for a life.
#[derive(Debug)]
pub struct Encoder {
    pub format: Format,
    pub layout: Layout,
    encoding: u8,
    pictures: u32,
    frames: u32,
    phase: u32,
    /// The newest of each spatial and temporal layer since the last key picture.
    newest: [[Option<Reference>; 3]; 3],
    describer: Option<Describer>,
    /// What its picture ids, TL0PICIDX and frame numbers begin at.
    pub base: u16,
    tl0: u8,
    pub picture_id_bits: u32,
}

/// Bytes at the end of each payload: which frame's packet it is, and of how many.
pub const STAMP_BYTES: usize = 8;

pub fn stamp(frame: u32, packet: usize, packets: usize) -> [u8; STAMP_BYTES] {
    let [a, b, c, d] = frame.to_be_bytes();
    [0xa7, a, b, c, d, packet as u8, packets as u8, 0x5c]
}

pub fn read_stamp(payload: &[u8]) -> Option<(u32, usize, usize)> {
    match *payload.last_chunk::<STAMP_BYTES>()? {
        [0xa7, a, b, c, d, packet, packets, 0x5c] => {
            Some((u32::from_be_bytes([a, b, c, d]), packet.into(), packets.into()))
        }
        _ => None,
    }
}

impl Encoder {
    pub fn new(format: Format, layout: Layout, encoding: u8, base: u16) -> Encoder {
        let is_described = matches!(format, Format::Av1 | Format::Opaque);
        Encoder {
            format,
            layout,
            encoding,
            pictures: 0,
            frames: 0,
            phase: 0,
            newest: Default::default(),
            describer: is_described.then(|| Describer::new(layout, base)),
            base,
            tl0: base as u8,
            picture_id_bits: 15,
        }
    }

    /// The frames of one picture. `next_id`: of the first.
    pub fn picture(&mut self, key: bool, next_id: u32, captured: Duration) -> Vec<Frame> {
        let key = key || self.pictures == 0;
        if key {
            (self.phase, self.newest) = (0, Default::default());
        }
        let turns = round(self.layout.temporal);
        let at = self.phase as usize % turns.len();
        let rounds = self.phase / turns.len() as u32;
        let temporal = turns[at];
        let mut frames: Vec<Frame> = Vec::new();
        for spatial in 0..self.layout.spatial {
            let below = frames.last().map(Frame::as_reference);
            let is_sync_round = rounds.is_multiple_of(self.layout.sync_every);
            let mut references = Vec::new();
            if !key {
                references = self.refers_to(spatial, temporal, at, is_sync_round);
            }
            references.extend(below.filter(|_| key || !self.layout.key));
            frames.push(Frame {
                id: next_id + u32::from(spatial),
                encoding: self.encoding,
                ssrc: 0,
                picture: self.pictures,
                number: self.frames,
                phase: self.phase,
                spatial,
                temporal,
                of_key_picture: key,
                is_highest: spatial + 1 == self.layout.spatial,
                is_sync_round,
                references,
                captured,
                timestamp: 0,
                first_seq: 0,
                arrived: Vec::new(),
            });
            self.frames += 1;
        }
        for frame in &frames {
            let place = &mut self.newest[usize::from(frame.spatial)][usize::from(temporal)];
            *place = Some(frame.as_reference());
        }
        if temporal == 0 {
            self.tl0 = self.tl0.wrapping_add(1);
        }
        self.pictures += 1;
        self.phase += 1;
        frames
    }

    /// The frames of its own spatial layer that a frame refers to.
    fn refers_to(&self, spatial: u8, temporal: u8, at: usize, is_sync: bool) -> Vec<Reference> {
        let newest = self.newest[usize::from(spatial)];
        let mut references = vec![newest[if temporal == 2 && at == 3 { 1 } else { 0 }]];
        if temporal > 0 && !is_sync {
            references.push(newest[usize::from(temporal)]);
        }
        references.into_iter().flatten().collect()
    }

    /// The packets of a frame, so many at least.
    pub fn packets(&mut self, frame: &Frame, count: usize, chance: u64) -> Vec<Content> {
        let bodies = |count: usize| -> Vec<Vec<u8>> {
            let body = |at| {
                let bytes = 40 + (chance >> at & 63) as usize;
                let mut body = vec![(chance >> 8) as u8 | 1; bytes];
                body.extend(stamp(frame.id, at, count));
                body
            };
            (0..count).map(body).collect()
        };
        let payloads = match self.format {
            Format::Vp8 => vp8::packets(self, frame, bodies(count), self.tl0),
            Format::H264 => h264::packets(frame, chance, bodies),
            Format::Vp9 | Format::Vp9Flexible => vp9::packets(self, frame, bodies(count), self.tl0),
            Format::Av1 => av1::packets(frame, bodies(count)),
            Format::Opaque => bodies(count).into_iter().map(|b| av1::opaque(b, chance)).collect(),
        };
        let last = payloads.len() - 1;
        let edges = |at| (at == 0, at == last);
        let mut contents: Vec<Content> = (0..)
            .zip(payloads)
            .map(|(at, payload)| Content {
                payload,
                descriptor: match &self.describer {
                    Some(describer) => describer.descriptor(frame, edges(at), chance),
                    None => Vec::new(),
                },
                marker: at == last && frame.is_highest,
            })
            .collect();
        if let Some(describer) = &mut self.describer {
            describer.sent(frame);
        }
        contents.shrink_to_fit();
        contents
    }
}
