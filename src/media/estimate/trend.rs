//! Whether packets take ever longer: a line through the delays of the last groups, whose slope is
//! held against a threshold that follows the noise of the path (Carlucci et al., "Analysis and
//! Design of the Google Congestion Control for WebRTC", 2016; `libwebrtc`'s `TrendlineEstimator`).

use super::Usage;
use super::groups::Step;

/// Points of the line (`libwebrtc`, `kDefaultTrendlineWindowSize`). More is steadier, and later.
const POINTS: usize = 20;
/// Of the smoothed delay so much remains at each point (`libwebrtc`,
/// `kDefaultTrendlineSmoothingCoeff`). Higher is steadier, and later.
const SMOOTHING: f64 = 0.9;
/// Slopes are so small that they are multiplied by this, and by how many points there ever were, up
/// to [`COUNTED_MAX`] (`libwebrtc`, `kDefaultTrendlineThresholdGain` and `kMinNumDeltas`). Higher
/// notices less, and sees what is not there.
const GAIN: f64 = 4.0;
const COUNTED_MAX: u32 = 60;
/// The threshold at first, in milliseconds (draft-ietf-rmcat-gcc-02 §5.4, `del_var_th(0)`).
const THRESHOLD_MS: f64 = 12.5;
/// And its bounds (draft §5.4). A higher one lets the queue grow; at a lower one noise is overuse.
const THRESHOLD_MS_MIN: f64 = 6.0;
const THRESHOLD_MS_MAX: f64 = 600.0;
/// How fast it follows what is above it and below it, a millisecond (`libwebrtc`, `k_up` and
/// `k_down`; the draft's 0.01 and 0.00018 are for a filter with another scale). Up faster starves
/// less beside TCP and is blinder; down faster notices more and backs off for noise.
const THRESHOLD_UP: f64 = 0.0087;
const THRESHOLD_DOWN: f64 = 0.039;
/// What is so far above the threshold does not raise it (draft §5.4): a sudden fall of the link
/// must not make it blind.
const THRESHOLD_LEAP_MS: f64 = 15.0;
/// The threshold moves for at most so long at once (`libwebrtc`, `kMaxTimeDeltaMs`).
const THRESHOLD_STEP_MS_MAX: f64 = 100.0;
/// Overuse must last so long to be believed (draft §5.4, `overuse_time_th`), and for two points.
const OVER_MS: f64 = 10.0;
/// After a pause of so long the past says nothing (`libwebrtc`, `kStreamTimeOut`).
const PAUSE_MICROS: i64 = 2_000_000;
/// A delay that changes by so much between two groups is no queue but a clock that leapt
/// (`libwebrtc`, `kArrivalTimeOffsetThreshold`).
const LEAP_MICROS: i64 = 3_000_000;

/// The line and what it is held against.
#[derive(Debug)]
pub struct Trend {
    /// When a group came and its smoothed delay, in milliseconds since the first.
    points: [(f64, f64); POINTS],
    next: usize,
    count: u32,
    first: i64,
    /// All changes of delay since the first, added up, and smoothed.
    delay: f64,
    smoothed: f64,
    threshold: f64,
    threshold_at: Option<i64>,
    /// For how long the slope is above the threshold, and at how many points.
    over: Option<(f64, u32)>,
    slope: f64,
    usage: Usage,
}

impl Default for Trend {
    fn default() -> Trend {
        Trend {
            points: [(0.0, 0.0); POINTS],
            next: 0,
            count: 0,
            first: 0,
            delay: 0.0,
            smoothed: 0.0,
            threshold: THRESHOLD_MS,
            threshold_at: None,
            over: None,
            slope: 0.0,
            usage: Usage::Normal,
        }
    }
}

impl Trend {
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// A group came.
    pub fn take(&mut self, step: Step) {
        let change = step.arrived - step.sent;
        if step.sent > PAUSE_MICROS || change.abs() > LEAP_MICROS {
            *self = Trend::default();
            return;
        }
        if self.count == 0 {
            self.first = step.at;
        }
        self.count = (self.count + 1).min(1_000);
        self.delay += change as f64 / 1e3;
        self.smoothed = SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * self.delay;
        let at = (step.at - self.first) as f64 / 1e3;
        if let Some(place) = self.points.get_mut(self.next) {
            *place = (at, self.smoothed);
        }
        self.next = (self.next + 1) % POINTS;
        if self.count as usize >= POINTS {
            let slope = slope(&self.points).unwrap_or(self.slope);
            self.judge(slope, step);
        }
    }

    fn judge(&mut self, slope: f64, step: Step) {
        let scaled = f64::from(self.count.min(COUNTED_MAX)) * slope * GAIN;
        let sent_ms = step.sent as f64 / 1e3;
        if scaled > self.threshold {
            let (lasted, points) =
                self.over.map_or((sent_ms / 2.0, 1), |(l, p)| (l + sent_ms, p + 1));
            self.over = Some((lasted, points));
            if lasted > OVER_MS && points > 1 && slope >= self.slope {
                self.over = Some((0.0, 0));
                self.usage = Usage::Over;
            }
        } else {
            self.over = None;
            self.usage = if scaled < -self.threshold { Usage::Under } else { Usage::Normal };
        }
        self.slope = slope;
        self.adapt(scaled.abs(), step.at);
    }

    /// Moves the threshold towards what is seen.
    fn adapt(&mut self, scaled: f64, at: i64) {
        let since = at - self.threshold_at.replace(at).unwrap_or(at);
        if scaled > self.threshold + THRESHOLD_LEAP_MS {
            return;
        }
        let rate = if scaled < self.threshold { THRESHOLD_DOWN } else { THRESHOLD_UP };
        let since_ms = (since as f64 / 1e3).clamp(0.0, THRESHOLD_STEP_MS_MAX);
        let threshold = self.threshold + rate * (scaled - self.threshold) * since_ms;
        self.threshold = threshold.clamp(THRESHOLD_MS_MIN, THRESHOLD_MS_MAX);
    }
}

/// Of the line with the least squares; none if all is at one time.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    let from = points.first()?;
    let [mut x, mut y, mut xx, mut xy] = [0.0; 4];
    for point in points {
        let (dx, dy) = (point.0 - from.0, point.1 - from.1);
        x += dx;
        y += dy;
        xx += dx * dx;
        xy += dx * dy;
    }
    let spread = count * xx - x * x;
    (spread > 0.0).then(|| (count * xy - x * y) / spread)
}
