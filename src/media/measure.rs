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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::extensions::Extensions;
    use crate::wire::codec::Codec;
    use crate::wire::frame::{Frame, Targets};
    use crate::wire::payload::Counters;

    const PATIENCE: Duration = Duration::from_secs(2);
    const HD: Size = Size { width: 1_280, height: 720 };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn layer(spatial: u8, temporal: u8) -> Layer {
        Layer { spatial, temporal }
    }

    /// A packet of so many bytes, at that time, of a layer; the last of its picture.
    fn give(rates: &mut LayerRates, at: Instant, of: Layer, bytes: u32, size: Option<Size>) {
        let payload = vec![0; (bytes - OVERHEAD_BYTES) as usize];
        let frame = Frame { layer: of, needed: Targets::from(of), ..Frame::plain(false) };
        let head = Head {
            ssrc: 1,
            encoding: 0,
            take: 0,
            seq: 0,
            timestamp: 0,
            marker: true,
            codec: Codec::Vp8,
            starts_keyframe: false,
            frame,
            counters: Counters::default(),
            extensions: Extensions::default(),
            received: at,
        };
        rates.packet(&Packet { head, payload: &payload, descriptor: &[] }, size);
    }

    fn steps(rates: &LayerRates, at: Instant) -> Vec<Step> {
        let mut steps = Vec::new();
        rates.steps(2, at, PATIENCE, &mut steps);
        steps
    }

    /// Layer, kbit/s and frames a second of each.
    fn said(rates: &LayerRates, at: Instant) -> Vec<(Layer, u64, u8)> {
        steps(rates, at).iter().map(|s| (s.layer, s.rate.bps() / 1_000, s.fps)).collect()
    }

    /// From one moment to another, 50 pictures a second of 1,000 bytes, whose layers come in turn.
    fn play(rates: &mut LayerRates, start: Instant, (from, to): (u64, u64), layers: &[Layer]) {
        for (at, of) in (from..to).step_by(20).zip(layers.iter().cycle()) {
            give(rates, start + ms(at), *of, 1_000, None);
            rates.update(start + ms(at + 20));
        }
    }

    #[test]
    fn nothing_is_said_of_what_never_came() {
        let now = Instant::now();
        let mut rates = LayerRates::default();
        rates.update(now + ms(5_000));
        assert_eq!(steps(&rates, now), []);
    }

    #[test]
    fn before_a_window_is_over_the_size_tells_the_rate() {
        let now = Instant::now();
        let mut rates = LayerRates::default();
        give(&mut rates, now, layer(0, 0), 1_000, None);
        give(&mut rates, now, layer(0, 1), 1_000, None);
        let [one] = &steps(&rates, now)[..] else { panic!("all of it, and no more is known") };
        assert_eq!((one.encoding, one.layer, one.rate), (2, layer(0, 1), UNKNOWN));
        give(&mut rates, now, layer(0, 0), 1_000, Some(HD));
        let [one] = &steps(&rates, now)[..] else { panic!("as before") };
        assert_eq!((one.size, one.rate), (HD, Bitrate::from_bps(1_280 * 720 * 2)));
        rates.update(now + WINDOW - ms(1));
        assert_eq!(steps(&rates, now).len(), 1, "not yet");
        rates.update(now + WINDOW);
        assert_eq!(steps(&rates, now).len(), 2);
    }

    #[test]
    fn each_target_costs_what_it_needs_and_has_its_pictures() {
        let start = Instant::now();
        let mut rates = LayerRates::default();
        let layers = [layer(0, 0), layer(0, 2), layer(0, 1), layer(0, 2)];
        play(&mut rates, start, (0, 2_000), &layers);
        // 50 pictures a second of 8 kbit: of each four one, two, and all.
        let now = start + ms(2_000);
        let [low, middle, high] = said(&rates, now)[..] else { panic!("three layers") };
        assert_eq!([low.0, middle.0, high.0], [0, 1, 2].map(|t| layer(0, t)));
        assert!((95..=105).contains(&low.1) && (12..=14).contains(&low.2), "{low:?}");
        assert!((190..=210).contains(&middle.1) && (24..=26).contains(&middle.2), "{middle:?}");
        assert!((380..=420).contains(&high.1) && (49..=51).contains(&high.2), "{high:?}");
    }

    #[test]
    fn spatial_layers_below_the_highest_are_half_as_large_each() {
        let start = Instant::now();
        let mut rates = LayerRates::default();
        give(&mut rates, start, layer(0, 0), 1_000, Some(HD));
        play(&mut rates, start, (0, 1_000), &[layer(0, 0), layer(1, 0), layer(2, 0)]);
        let sizes = steps(&rates, start + ms(1_000)).iter().map(|s| s.size).collect::<Vec<_>>();
        let half = |n: u16| Size { width: 1_280 >> n, height: 720 >> n };
        assert_eq!(sizes, [half(2), half(1), half(0)]);
        // Smaller from a keyframe on.
        let small = Size { width: 640, height: 360 };
        give(&mut rates, start + ms(1_000), layer(0, 0), 1_000, Some(small));
        assert_eq!(steps(&rates, start + ms(1_000)).last().map(|s| s.size), Some(small));
    }

    #[test]
    fn a_rate_is_the_mean_of_two_windows() {
        let start = Instant::now();
        let mut rates = LayerRates::default();
        let rate = |rates: &LayerRates, at| said(rates, start + ms(at)).first().map(|s| s.1);
        play(&mut rates, start, (0, 1_000), &[layer(0, 0)]);
        assert_eq!(rate(&rates, 1_000), Some(400));
        // A keyframe as large as all else of its window.
        give(&mut rates, start + ms(1_000), layer(0, 0), 25_000, None);
        play(&mut rates, start, (1_000, 1_500), &[layer(0, 0)]);
        assert_eq!(rate(&rates, 1_500), Some(600), "of 800 and 400");
        play(&mut rates, start, (1_500, 2_000), &[layer(0, 0)]);
        assert_eq!(rate(&rates, 2_000), Some(600));
        play(&mut rates, start, (2_000, 2_500), &[layer(0, 0)]);
        assert_eq!(rate(&rates, 2_500), Some(400), "over");
    }

    #[test]
    fn an_encoding_that_stops_is_offered_until_patience_ends() {
        let start = Instant::now();
        let mut rates = LayerRates::default();
        play(&mut rates, start, (0, 1_000), &[layer(0, 0)]);
        let last = 980;
        assert_eq!(steps(&rates, start + ms(last) + PATIENCE - ms(1)).len(), 1);
        assert_eq!(steps(&rates, start + ms(last) + PATIENCE), []);
        // While it stands still, it costs next to nothing, and is shown.
        rates.update(start + ms(1_500));
        rates.update(start + ms(2_000));
        let [still] = steps(&rates, start + ms(2_000))[..] else { panic!("within patience") };
        assert_eq!((still.rate, still.fps), (LEAST, 0));
        // It comes back.
        play(&mut rates, start, (9_000, 10_000), &[layer(0, 0)]);
        let [back] = steps(&rates, start + ms(10_000))[..] else { panic!("it is sent") };
        assert!(back.rate > LEAST && back.fps > 0, "{back:?}");
    }

    #[test]
    fn a_layer_that_stops_is_offered_for_a_window_more() {
        let start = Instant::now();
        let mut rates = LayerRates::default();
        play(&mut rates, start, (0, 1_000), &[layer(0, 0), layer(1, 1)]);
        assert_eq!(steps(&rates, start + ms(1_000)).len(), 4);
        play(&mut rates, start, (1_000, 1_480), &[layer(0, 0)]);
        assert_eq!(steps(&rates, start + ms(1_480)).len(), 4, "it may be late");
        play(&mut rates, start, (1_480, 2_000), &[layer(0, 0)]);
        let left: Vec<Layer> = steps(&rates, start + ms(2_000)).iter().map(|s| s.layer).collect();
        assert_eq!(left, [layer(0, 0)]);
        play(&mut rates, start, (2_000, 2_020), &[layer(0, 1)]);
        assert_eq!(steps(&rates, start + ms(2_020)).len(), 2, "one that comes is offered at once");
    }
}
