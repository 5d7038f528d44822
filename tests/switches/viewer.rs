//! Who watches: what was chosen for them and when, and every packet that came.

use std::collections::BTreeMap;
use std::time::Duration;

use trackyard::media::encoding::Choice;

use crate::dice::Dice;
use crate::publisher::{MID_ID, PAYLOAD_TYPE, RTX_PAYLOAD_TYPE};
use crate::rtp::{Rtp, nearest};

/// A packet as it came first.
#[derive(Debug, Clone)]
pub struct Got {
    pub at: Duration,
    pub rtp: Rtp,
}

/// What is to be seen from then on.
#[derive(Debug, Clone, Copy)]
pub struct Chosen {
    pub at: Duration,
    pub choice: Option<Choice>,
}

pub struct Viewer {
    pub id: u64,
    pub chosen: Vec<Chosen>,
    /// By sequence number.
    pub got: BTreeMap<u64, Got>,
    pub faults: Vec<String>,
    /// Retransmissions that were asked for, and came.
    pub asked: u64,
    pub repeated: u64,
    highest: u64,
}

impl Viewer {
    pub fn new(id: u64) -> Viewer {
        let (chosen, got, faults) = (Vec::new(), BTreeMap::new(), Vec::new());
        Viewer { id, chosen, got, faults, asked: 0, repeated: 0, highest: 0 }
    }

    pub fn chose(&mut self, at: Duration, choice: Option<Choice>) {
        self.chosen.push(Chosen { at, choice });
    }

    /// A packet came. Now and then it asks for some once more, as if they had been lost: the NACK.
    pub fn take(
        &mut self,
        at: Duration,
        index: u64,
        mut rtp: Rtp,
        dice: &mut Dice,
    ) -> Option<Vec<u8>> {
        // Each is numbered by itself in the header extensions, and these are all the same.
        rtp.extensions.retain(|(id, _)| *id != MID_ID);
        if rtp.payload_type == RTX_PAYLOAD_TYPE {
            self.take_again(rtp);
            return None;
        }
        if rtp.payload_type != PAYLOAD_TYPE {
            self.faults.push(format!("a payload type that was not agreed on: {rtp:?}"));
        }
        self.highest = self.highest.max(index);
        let got = Got { at, rtp };
        let before = self.got.entry(index).or_insert_with(|| got.clone());
        if before.rtp != got.rtp {
            let said = format!("number {index} with other content: {before:?}, then {got:?}");
            self.faults.push(said);
        }
        if !dice.happens(10) {
            return None;
        }
        let back = dice.below(12);
        let seq = index.saturating_sub(back) as u16;
        self.asked += 1;
        let mut nack = vec![0x81, 205, 0, 3, 0, 0, 0, 9];
        nack.extend(got.rtp.ssrc.to_be_bytes());
        nack.extend(seq.to_be_bytes());
        nack.extend([0, 0]);
        Some(nack)
    }

    fn take_again(&mut self, mut rtp: Rtp) {
        if rtp.payload.is_empty() {
            return;
        }
        self.repeated += 1;
        let original: Vec<u8> = rtp.payload.drain(..2).collect();
        let index = nearest(self.highest, u16::from_be_bytes([original[0], original[1]]));
        let Some(before) = self.got.get(&index) else {
            self.faults.push(format!("number {index} again, which never came: {rtp:?}"));
            return;
        };
        let own = &before.rtp;
        (rtp.payload_type, rtp.ssrc, rtp.seq) = (own.payload_type, own.ssrc, own.seq);
        if rtp != before.rtp {
            let said = format!("number {index} again, with other content: {before:?}, {rtp:?}");
            self.faults.push(said);
        }
    }
}
