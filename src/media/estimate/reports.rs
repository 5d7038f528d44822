//! The estimate for clients that send no transport-wide feedback: what they estimate themselves
//! (REMB), bounded by what their report blocks lose.

use crate::base::bitrate::Bitrate;
use crate::base::limits::{ESTIMATE_MAX, ESTIMATE_MIN, ESTIMATE_START};

/// More than this lost is too much, and less than this is none (draft-ietf-rmcat-gcc-02 §6).
const LOSS_HIGH: f64 = 0.1;
const LOSS_LOW: f64 = 0.02;
/// Up by this factor for each round of reports, a second, that lost none (draft §6).
const INCREASE: f64 = 1.05;
/// Without a word from the client about its link, no more than this: one video of a good camera.
/// Higher floods who cannot say so until its loss shows; lower is all that such a client ever sees.
const BLIND_MAX: Bitrate = Bitrate::from_kbps(2_500);

/// What report blocks and REMB say.
#[derive(Debug)]
pub struct Reports {
    remb: Option<Bitrate>,
    /// What loss leaves of it.
    bound: Bitrate,
    /// 256ths lost, and reports, since the last update.
    lost: u64,
    reports: u64,
}

impl Default for Reports {
    fn default() -> Reports {
        Reports { remb: None, bound: ESTIMATE_START, lost: 0, reports: 0 }
    }
}

impl Reports {
    pub fn remb(&mut self, rate: Bitrate) {
        // The first says more than a start that knows nothing.
        if self.remb.replace(rate).is_none() {
            self.bound = self.bound.max(rate);
        }
    }

    pub fn report(&mut self, fraction_lost: u8) {
        self.lost += u64::from(fraction_lost);
        self.reports += 1;
    }

    /// The estimate, after all reports of one compound. `is_limited`: less is sent than that.
    pub fn update(&mut self, is_limited: bool) -> Bitrate {
        let most = self.remb.unwrap_or(BLIND_MAX);
        if self.reports > 0 {
            let lost = super::share(self.lost, 256 * self.reports);
            (self.lost, self.reports) = (0, 0);
            self.bound = match lost {
                lost if lost > LOSS_HIGH => self.bound.min(most).scale(1.0 - 0.5 * lost),
                // What is not sent is not tried; but the client's own estimate is a measure.
                lost if lost < LOSS_LOW && (!is_limited || self.remb.is_some()) => {
                    self.bound.scale(INCREASE)
                }
                _ => self.bound,
            };
        }
        self.bound = self.bound.clamp(ESTIMATE_MIN, ESTIMATE_MAX);
        self.bound.min(most)
    }
}
