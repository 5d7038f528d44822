//! What each layer of an encoding costs and shows, as its packets say.

use std::time::{Duration, Instant};

use super::allocate::{Size, Step};
use super::packet::{Head, Packet};
use crate::base::bitrate::Bitrate;
use crate::wire::frame::{LAYERS_MAX, Layer};

/// What one measurement takes in. The mean of two makes a rate: less would take a keyframe for it,
/// more would follow a publisher's changes late.
const WINDOW: Duration = Duration::from_millis(500);
/// No measured layer is cheaper, however little moves in it.
const LEAST: Bitrate = Bitrate::from_kbps(1);
/// What a packet has besides its payload: headers and tag.
const OVERHEAD_BYTES: u32 = 48;
/// Bits a pixel and second of a camera's picture of which nothing is measured yet.
const BITS_PER_PIXEL: u64 = 2;
/// And the rate of one whose size is not known either.
const UNKNOWN: Bitrate = Bitrate::from_kbps(500);

const TARGETS: usize = LAYERS_MAX as usize * LAYERS_MAX as usize;

/// The rates of an encoding's decode targets.
#[derive(Debug, Default)]
pub struct LayerRates {
    /// The present window: when it began, and of each target bytes and frames.
    began: Option<Instant>,
    bytes: [u32; TARGETS],
    frames: [u16; TARGETS],
    /// The window before, as rates; and the mean with the one before that.
    last: Option<[Bitrate; TARGETS]>,
    rates: [Bitrate; TARGETS],
    fps: [u8; TARGETS],
    /// The highest layers that came in the present window, and in the last.
    highest: [Layer; 2],
    size: Size,
    heard: Option<Instant>,
}

fn targets(highest: Layer) -> impl Iterator<Item = (usize, Layer)> {
    let layers = (0..=highest.spatial).flat_map(move |spatial| {
        (0..=highest.temporal).map(move |t| Layer { spatial, temporal: t })
    });
    layers.map(|layer| (usize::from(layer.spatial * LAYERS_MAX + layer.temporal), layer))
}

impl LayerRates {
    /// A packet came. `size`: of the picture that begins with it, if it says so.
    pub fn packet(&mut self, packet: &Packet<'_>, size: Option<Size>) {
        let Head { frame, received, marker, .. } = packet.head;
        self.began.get_or_insert(received);
        self.heard = Some(received);
        self.size = size.unwrap_or(self.size);
        let [now, _] = &mut self.highest;
        now.spatial = now.spatial.max(frame.layer.spatial);
        now.temporal = now.temporal.max(frame.layer.temporal);
        let bytes = packet.bytes() as u32 + OVERHEAD_BYTES;
        for (at, layer) in targets(*now) {
            if !frame.needed.has(layer) {
                continue;
            }
            if let (Some(sum), Some(frames)) = (self.bytes.get_mut(at), self.frames.get_mut(at)) {
                *sum = sum.saturating_add(bytes);
                *frames = frames.saturating_add(marker.into());
            }
        }
    }

    /// Ends the present window, if it is long enough.
    pub fn update(&mut self, now: Instant) {
        let Some(began) = self.began else { return };
        let time = now.saturating_duration_since(began);
        if time < WINDOW {
            return;
        }
        let mut fresh = [Bitrate::ZERO; TARGETS];
        for (at, rate) in fresh.iter_mut().enumerate() {
            let bytes = self.bytes.get_mut(at).map(std::mem::take).unwrap_or_default();
            let frames = self.frames.get_mut(at).map(std::mem::take).unwrap_or_default();
            *rate = Bitrate::of(bytes.into(), time);
            if let Some(fps) = self.fps.get_mut(at) {
                *fps = (f64::from(frames) / time.as_secs_f64()).round().min(255.0) as u8;
            }
        }
        let last = self.last.replace(fresh).unwrap_or(fresh);
        for ((rate, fresh), last) in self.rates.iter_mut().zip(fresh).zip(last) {
            *rate = (fresh + last).scale(0.5);
        }
        let [highest, _] = self.highest;
        self.highest = [Layer::LOWEST, highest];
        self.began = Some(now);
    }

    /// Appends what may be had of it now: nothing, if nothing came for as long as `patience`.
    pub fn steps(&self, encoding: u8, now: Instant, patience: Duration, out: &mut Vec<Step>) {
        let silent = |at| now.saturating_duration_since(at) >= patience;
        if self.heard.is_none_or(silent) {
            return;
        }
        let [now, before] = self.highest;
        let highest = Layer {
            spatial: now.spatial.max(before.spatial),
            temporal: now.temporal.max(before.temporal),
        };
        for (at, layer) in targets(highest) {
            let smaller = highest.spatial - layer.spatial;
            let size =
                Size { width: self.size.width >> smaller, height: self.size.height >> smaller };
            let rate = match self.last {
                Some(_) => self.rates.get(at).copied().unwrap_or_default().max(LEAST),
                None if layer != highest => continue,
                None if size.area() == 0 => UNKNOWN,
                None => Bitrate::from_bps(u64::from(size.area()) * BITS_PER_PIXEL),
            };
            let fps = self.fps.get(at).copied().unwrap_or_default();
            out.push(Step { encoding, layer, rate, size, fps });
        }
    }
}
