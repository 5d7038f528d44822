//! The other flow: the model of draft-ietf-rmcat-gcc-02 as it stands there, with its Kalman filter
//! (§5.3), detector (§5.4), rate control (§5.5) and loss rule (§6), so that it shares nothing with
//! what it competes with. The one thing taken from elsewhere: the filter's output is multiplied by
//! the number of groups, up to 60, before it is held against the threshold, as every
//! implementation does; without it the threshold is never reached.

use std::collections::VecDeque;
use std::time::Instant;

use crate::media::transport_cc::PacketResult;

#[derive(Clone, Copy, PartialEq)]
enum Signal {
    Normal,
    Over,
    Under,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Hold,
    Increase,
    Decrease,
}

/// Times in milliseconds, rates in bits per second.
pub struct Published {
    delay_rate: f64,
    loss_rate: f64,
    // Groups of packets: the first's and last's departure, the last's arrival.
    group: Option<(f64, f64, f64)>,
    before: Option<(f64, f64)>,
    groups: f64,
    // The filter.
    m: f64,
    m_before: f64,
    e: f64,
    var_v: f64,
    // The detector.
    threshold: f64,
    over_for: f64,
    signal: Signal,
    // The rate.
    state: State,
    arrived: VecDeque<(f64, f64)>,
    updated: Option<f64>,
    average_max: Option<(f64, f64)>,
    lost: u32,
    told: u32,
    loss_updated: f64,
    epoch: Option<Instant>,
    round_trip: f64,
    newest: f64,
}

impl Default for Published {
    fn default() -> Published {
        Published {
            delay_rate: 600e3,
            loss_rate: 600e3,
            group: None,
            before: None,
            groups: 0.0,
            m: 0.0,
            m_before: 0.0,
            e: 0.1,
            var_v: 50.0,
            threshold: 12.5,
            over_for: 0.0,
            signal: Signal::Normal,
            state: State::Hold,
            arrived: VecDeque::new(),
            updated: None,
            average_max: None,
            lost: 0,
            told: 0,
            loss_updated: 0.0,
            epoch: None,
            round_trip: 100.0,
            newest: 0.0,
        }
    }
}

impl Published {
    pub fn rate(&self) -> f64 {
        self.delay_rate.min(self.loss_rate).clamp(30e3, 100e6)
    }

    pub fn take(&mut self, result: &PacketResult) {
        let epoch = *self.epoch.get_or_insert(result.sent);
        let sent = (result.sent - epoch).as_secs_f64() * 1e3;
        self.told += 1;
        let Some(arrived) = result.arrived else {
            self.lost += 1;
            return;
        };
        self.newest = self.newest.max(sent);
        let arrived = arrived.as_secs_f64() * 1e3;
        self.arrived.push_back((arrived, result.bytes as f64 * 8.0));
        while self.arrived.front().is_some_and(|(at, _)| *at < arrived - 500.0) {
            self.arrived.pop_front();
        }
        match &mut self.group {
            Some((first, last, came))
                if sent - *first < 5.0
                    || arrived - *came < 5.0 && arrived - *came < sent - *last =>
            {
                (*last, *came) = (last.max(sent), came.max(arrived));
            }
            Some((_, last, came)) => {
                let done = (*last, *came);
                self.group = Some((sent, sent, arrived));
                if let Some(before) = self.before.replace(done) {
                    self.filter(done.0 - before.0, done.1 - before.1);
                }
            }
            None => self.group = Some((sent, sent, arrived)),
        }
    }

    fn filter(&mut self, sent: f64, came: f64) {
        self.groups = (self.groups + 1.0).min(60.0);
        let z = came - sent - self.m;
        let alpha = (1.0f64 - 0.01).powf(30.0 / (1000.0 * (1.0 / came.max(5.0))));
        let bounded = z.clamp(-3.0 * self.var_v.sqrt(), 3.0 * self.var_v.sqrt());
        self.var_v = (alpha * self.var_v + (1.0 - alpha) * bounded * bounded).max(1.0);
        let k = (self.e + 1e-3) / (self.var_v + self.e + 1e-3);
        self.e = (1.0 - k) * (self.e + 1e-3);
        self.m += z * k;
        self.detect(sent);
    }

    fn detect(&mut self, sent: f64) {
        let m = self.m * self.groups;
        if m > self.threshold {
            self.over_for += sent;
            if self.over_for >= 10.0 && m >= self.m_before {
                self.signal = Signal::Over;
            }
        } else {
            self.over_for = 0.0;
            self.signal = if m < -self.threshold { Signal::Under } else { Signal::Normal };
        }
        self.m_before = m;
        if m.abs() - self.threshold <= 15.0 {
            let k = if m.abs() < self.threshold { 0.039 } else { 0.0087 };
            self.threshold += sent.min(100.0) * k * (m.abs() - self.threshold);
            self.threshold = self.threshold.clamp(6.0, 600.0);
        }
    }

    pub fn update(&mut self, now: Instant) {
        let Some(epoch) = self.epoch else { return };
        let now = (now - epoch).as_secs_f64() * 1e3;
        self.round_trip = 0.9 * self.round_trip + 0.1 * (now - self.newest);
        let span = self.arrived.back().map_or(0.0, |b| b.0 - self.arrived[0].0);
        if span < 250.0 {
            return;
        }
        let measured = self.arrived.iter().map(|(_, bits)| bits).sum::<f64>() / span * 1e3;
        let since = self.updated.replace(now).map_or(0.0, |at| now - at);
        self.state = match (self.signal, self.state) {
            (Signal::Over, _) => State::Decrease,
            (Signal::Under, _) => State::Hold,
            (Signal::Normal, State::Hold | State::Increase) => State::Increase,
            (Signal::Normal, State::Decrease) => State::Hold,
        };
        match self.state {
            State::Hold => {}
            State::Increase => self.increase(measured, since),
            State::Decrease => {
                let average =
                    self.average_max.map_or(measured, |(a, _)| 0.95 * a + 0.05 * measured);
                let off = (measured - average).powi(2);
                let variance = self.average_max.map_or(0.0, |(_, v)| 0.95 * v + 0.05 * off);
                self.average_max = Some((average, variance));
                self.delay_rate = self.delay_rate.min(0.85 * measured);
                self.signal = Signal::Normal;
            }
        }
        self.lose(now);
    }

    fn increase(&mut self, measured: f64, since: f64) {
        let is_near = self.average_max.is_some_and(|(average, variance)| {
            (measured - average).abs() <= 3.0 * variance.sqrt().max(0.02 * average)
        });
        if self.average_max.is_some_and(|(a, v)| measured > a + 3.0 * v.sqrt().max(0.02 * a)) {
            self.average_max = None;
        }
        let grown = if is_near {
            let alpha = 0.5 * (since / (100.0 + self.round_trip)).min(1.0);
            let picture = self.delay_rate / 30.0;
            let packet = picture / (picture / (1_200.0 * 8.0)).ceil();
            self.delay_rate + (alpha * packet).max(1_000.0)
        } else {
            self.delay_rate * 1.08f64.powf((since / 1e3).min(1.0))
        };
        self.delay_rate = grown.min(1.5 * measured).max(self.delay_rate.min(1.5 * measured));
    }

    fn lose(&mut self, now: f64) {
        if self.told < 20 || now - self.loss_updated < 500.0 {
            return;
        }
        let lost = f64::from(self.lost) / f64::from(self.told);
        (self.lost, self.told, self.loss_updated) = (0, 0, now);
        if lost > 0.1 {
            self.loss_rate = self.rate() * (1.0 - 0.5 * lost);
        } else if lost < 0.02 {
            self.loss_rate = (self.loss_rate * 1.05).max(self.delay_rate.min(self.loss_rate * 1.5));
        }
    }
}
