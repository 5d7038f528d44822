//! Bits of a message, in the codes that video formats use.

/// Read from the highest bit of the first byte on. Every reading gives `None` where the bits end.
#[derive(Debug, Clone)]
pub struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    pub fn new(bytes: &'a [u8]) -> Bits<'a> {
        Bits { bytes, at: 0 }
    }

    /// How many were read.
    pub fn at(&self) -> usize {
        self.at
    }

    pub fn bit(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit != 0)
    }

    /// f(n), u(n): an unsigned number of `count` bits, of which there are at most 32.
    pub fn number(&mut self, count: u32) -> Option<u32> {
        debug_assert!(count <= 32);
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | u32::from(self.bit()?);
        }
        Some(value)
    }

    /// A number of at most 8 bits.
    pub fn small(&mut self, count: u32) -> Option<u8> {
        u8::try_from(self.number(count)?).ok()
    }

    /// ns(n) of AV1 (AV1 specification §4.10.7): a number below `count`, which is not 0, in as few
    /// whole bits as it needs.
    pub fn below(&mut self, count: u32) -> Option<u32> {
        let width = count.checked_ilog2()?;
        let short = (2u64 << width) - u64::from(count);
        let value = self.number(width)?;
        if u64::from(value) < short {
            return Some(value);
        }
        let long = u64::from(value) * 2 + u64::from(self.bit()?) - short;
        u32::try_from(long).ok()
    }

    /// ue(v) (ITU-T H.264 §9.1), below 2^32 - 1.
    pub fn exp_golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let rest = self.number(zeros)?;
        Some(((1u32 << zeros) - 1) + rest)
    }

    /// se(v) (ITU-T H.264 §9.1.1).
    pub fn signed_exp_golomb(&mut self) -> Option<i32> {
        let code = self.exp_golomb()?;
        let magnitude = i32::try_from(code.div_ceil(2)).ok()?;
        Some(if code % 2 == 1 { magnitude } else { -magnitude })
    }
}

/// What tests write, to be read again.
#[cfg(test)]
pub mod writer {
    /// Writes bits from the highest on.
    #[derive(Default)]
    pub struct Writer(Vec<bool>);

    impl Writer {
        pub fn number(&mut self, count: u32, value: u32) {
            self.0.extend((0..count).rev().map(|bit| value >> bit & 1 != 0));
        }

        /// ns(n).
        pub fn below(&mut self, count: u32, value: u32) {
            if count == 1 {
                return;
            }
            let width = 32 - count.leading_zeros();
            let short = (1 << width) - count;
            match value < short {
                true => self.number(width - 1, value),
                false => self.number(width, value + short),
            }
        }

        /// ue(v).
        pub fn exp_golomb(&mut self, value: u32) {
            let width = (value + 1).ilog2();
            self.number(2 * width + 1, value + 1);
        }

        pub fn bits(&self) -> usize {
            self.0.len()
        }

        /// With zeros up to a whole byte.
        pub fn bytes(&self) -> Vec<u8> {
            let bit = |bits: &[bool], at: usize| u8::from(bits.get(at) == Some(&true));
            let byte = |bits: &[bool]| (0..8).fold(0, |byte, at| byte << 1 | bit(bits, at));
            self.0.chunks(8).map(byte).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_read_from_the_highest_on() {
        let mut bits = Bits::new(&[0b1010_0101, 0xff, 0x12, 0x34, 0x56]);
        assert_eq!((bits.bit(), bits.number(3), bits.number(0)), (Some(true), Some(2), Some(0)));
        assert_eq!((bits.at(), bits.number(8)), (4, Some(0x5f)));
        let mut end = bits.clone();
        assert_eq!((bits.number(28), bits.bit()), (Some(0xf12_3456), None));
        assert_eq!(end.number(29), None);
        assert_eq!(Bits::new(&[0xff; 4]).number(32), Some(u32::MAX));
    }

    /// The table beside the definition (AV1 RTP specification §A.8.2).
    #[test]
    fn a_number_below_another_takes_as_few_bits_as_it_can() {
        let five = [(0b00, 2, 0), (0b01, 2, 1), (0b10, 2, 2), (0b110, 3, 3), (0b111, 3, 4)];
        for (code, length, value) in five {
            let byte = [code << (8 - length)];
            let mut bits = Bits::new(&byte);
            assert_eq!((bits.below(5), bits.at()), (Some(value), length));
        }
        let mut bits = Bits::new(&[0b1100_0000]);
        assert_eq!((bits.below(1), bits.at()), (Some(0), 0));
        assert_eq!((bits.below(2), bits.below(4)), (Some(1), Some(2)));
        assert_eq!(Bits::new(&[0xff; 5]).below(u32::MAX), Some(u32::MAX - 1));
        assert_eq!(Bits::new(&[0xff]).below(0), None);
    }

    /// ITU-T H.264 tables 9-2 and 9-3.
    #[test]
    fn exp_golomb_counts_its_zeros() {
        // 1, 010, 011, 00100 and 00101.
        let bytes = [0b1010_0110, 0b0100_0010, 0b1000_0000];
        let mut bits = Bits::new(&bytes);
        let codes: Vec<u32> = std::iter::from_fn(|| bits.exp_golomb()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4]);
        let mut bits = Bits::new(&bytes);
        let signed: Vec<i32> = std::iter::from_fn(|| bits.signed_exp_golomb()).collect();
        assert_eq!(signed, [0, 1, -1, 2, -2]);
        assert_eq!(
            Bits::new(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]).exp_golomb(),
            Some(u32::MAX - 1)
        );
        assert_eq!(Bits::new(&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff]).exp_golomb(), None);
    }
}
