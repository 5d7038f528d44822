//! Bits of a header, written and read from the highest on.

#[derive(Debug, Default)]
pub struct Writer {
    pub bytes: Vec<u8>,
    bits: usize,
}

impl Writer {
    pub fn put(&mut self, value: u32, width: u32) {
        for at in (0..width).rev() {
            if self.bits.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let last = self.bytes.last_mut().expect("one was pushed");
            *last |= ((value >> at & 1) as u8) << (7 - self.bits % 8);
            self.bits += 1;
        }
    }

    /// ns(n) of the AV1 specification (§4.10.7).
    pub fn put_below(&mut self, value: u32, n: u32) {
        let (width, short) = below(n);
        match value < short {
            true => self.put(value, width - 1),
            false => self.put(value + short, width),
        }
    }
}

/// How many bits the long form of ns(n) has, and how many values have the short one.
fn below(n: u32) -> (u32, u32) {
    let width = u32::BITS - n.leading_zeros();
    (width, (1 << width) - n)
}

#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    bits: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, bits: 0 }
    }

    /// `None` behind the end.
    pub fn get(&mut self, width: u32) -> Option<u32> {
        (0..width).try_fold(0, |value, _| {
            let byte = self.bytes.get(self.bits / 8)?;
            let bit = byte >> (7 - self.bits % 8) & 1;
            self.bits += 1;
            Some(value << 1 | u32::from(bit))
        })
    }

    pub fn get_below(&mut self, n: u32) -> Option<u32> {
        let (width, short) = below(n);
        let value = self.get(width - 1)?;
        if value < short {
            return Some(value);
        }
        Some((value << 1 | self.get(1)?) - short)
    }

    /// Whether nothing is left but zeros, of which there may be any (§A.8.2, zero_padding).
    pub fn is_over(&self) -> bool {
        let mut rest = Reader { bytes: self.bytes, bits: self.bits };
        let left = self.bytes.len() * 8 - self.bits;
        left < 16 && rest.get(left as u32) == Some(0)
    }
}
