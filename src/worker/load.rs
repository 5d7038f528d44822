//! How busy a worker is, and what it leaves out when that is too much: the larger pictures first, then
//! frames, and sound never.

use std::time::{Duration, Instant};

use crate::media::allocate::{Demand, Size};

/// Busy for so many percent of a second is too much. Higher lets packets wait, and the socket drop
/// them, before anything is left out; lower leaves out what there was time for.
const OVER_PERCENT: u128 = 90;
/// And so many are little enough to give something back: a step doubles the work at most.
const UNDER_PERCENT: u128 = 50;
/// In a row. More lets a short peak pass; less is sooner.
const OVER_SECONDS: u32 = 2;
const UNDER_SECONDS: u32 = 5;
/// What a viewer gets at most at each level: width and height, whichever way it is turned, and frames.
const LEVELS: [(u16, Option<u8>); 3] = [(640, None), (320, None), (320, Some(10))];

/// Of one worker.
#[derive(Debug)]
pub struct Load {
    /// When it was last looked at, and how long all turns had taken by then.
    at: Instant,
    busy: Duration,
    /// Seconds in a row that were too much, and that were little.
    over: u32,
    under: u32,
    level: u8,
}

impl Load {
    pub fn new(now: Instant) -> Load {
        Load { at: now, busy: Duration::ZERO, over: 0, under: 0, level: 0 }
    }

    /// How much is left out: 0 is nothing.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// All turns until `now` took `busy`, without waiting; to be asked about once a second. `true` if
    /// something else is to be left out from now on.
    pub fn take(&mut self, now: Instant, busy: Duration) -> bool {
        let period = now.saturating_duration_since(self.at);
        let percent = busy.saturating_sub(self.busy).as_micros() * 100;
        let percent = percent.checked_div(period.as_micros()).unwrap_or(0);
        (self.at, self.busy) = (now, busy);
        self.over = if percent >= OVER_PERCENT { self.over + 1 } else { 0 };
        self.under = if percent <= UNDER_PERCENT { self.under + 1 } else { 0 };
        let before = self.level;
        if self.over >= OVER_SECONDS {
            (self.over, self.level) = (0, (self.level + 1).min(LEVELS.len() as u8));
        } else if self.under >= UNDER_SECONDS {
            (self.under, self.level) = (0, self.level.saturating_sub(1));
        }
        self.level != before
    }
}

/// Lowers what a viewer asks for to what there is time for at a level.
pub fn shed(demand: &mut Demand<'_>, level: u8) {
    let level = usize::from(level).checked_sub(1).and_then(|at| LEVELS.get(at));
    let Some((side, fps)) = level else { return };
    let Size { width, height } = demand.asked;
    demand.asked = Size { width: width.min(*side), height: height.min(*side) };
    demand.fps_max = demand.fps_max.into_iter().chain(*fps).min();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::TrackId;
    use crate::media::allocate::Ladder;
    use crate::wire::signal::Source;

    #[test]
    fn what_lasts_takes_something_and_a_peak_does_not() {
        let (mut now, mut busy) = (Instant::now(), Duration::ZERO);
        let mut load = Load::new(now);
        let mut second = |percent: u64| {
            now += Duration::from_secs(1);
            busy += Duration::from_millis(10 * percent);
            load.take(now, busy);
            load.level()
        };
        assert_eq!([95, 80, 95, 80].map(&mut second), [0; 4]);
        assert_eq!([95, 95, 95, 95, 95, 95, 95].map(&mut second), [0, 1, 1, 2, 2, 3, 3]);
        assert_eq!([95; 4].map(&mut second), [3; 4]);
        assert_eq!([40, 40, 40, 60, 40, 40].map(&mut second), [3; 6], "not in a row");
        assert_eq!([40, 40, 40, 40].map(&mut second), [3, 3, 2, 2]);
        assert_eq!([70; 9].map(&mut second), [2; 9], "in between nothing changes");
    }

    #[test]
    fn size_goes_first_and_then_frames() {
        let ladder = Ladder::new(Source::Camera);
        let demand = Demand {
            track: TrackId(1),
            source: Source::Camera,
            ladder: &ladder,
            pinned: false,
            speaking: false,
            paused: false,
            asked: Size { width: 1_280, height: 720 },
            fps_max: None,
        };
        let at = |level| {
            let mut demand = demand;
            shed(&mut demand, level);
            (demand.asked.width, demand.asked.height, demand.fps_max)
        };
        assert_eq!(at(0), (1_280, 720, None));
        assert_eq!(at(1), (640, 640, None));
        assert_eq!(at(2), (320, 320, None));
        assert_eq!(at(3), (320, 320, Some(10)));
    }
}
