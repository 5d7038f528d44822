//! RTCP made by hand, as a client with its own keys could: requests in excess, and lies.

use trackyard::base::rng::Rng;

/// One packet: format or count, type, and all after the header, in whole words.
pub fn packet(format: u8, kind: u8, rest: &[u8]) -> Vec<u8> {
    assert!(rest.len().is_multiple_of(4));
    let mut packet = vec![0x80 | format, kind];
    packet.extend((rest.len() as u16 / 4).to_be_bytes());
    packet.extend_from_slice(rest);
    packet
}

/// The same of feedback from SSRC 9 about `media`.
fn feedback(format: u8, kind: u8, media: u32, rest: &[u8]) -> Vec<u8> {
    packet(format, kind, &[&9u32.to_be_bytes(), &media.to_be_bytes(), rest].concat())
}

/// A generic NACK for as many packets up to `newest` as `entries` can name.
pub fn nack(media: u32, newest: u64, entries: u16) -> Vec<u8> {
    let first = |n: u16| (newest as u16).wrapping_sub(17 * (n + 1) - 1);
    let entries = (0..entries).flat_map(|n| [first(n).to_be_bytes(), [0xff; 2]].concat());
    feedback(1, 205, media, &entries.collect::<Vec<u8>>())
}

pub fn pli(media: u32) -> Vec<u8> {
    feedback(1, 206, media, &[])
}

/// Transport-wide feedback: first number, how many, reference time, and what it says of them.
fn transport(base: u16, count: u16, time: u32, words: &[u16]) -> Vec<u8> {
    let mut rest = [base.to_be_bytes(), count.to_be_bytes()].concat();
    rest.extend_from_slice(&[&time.to_be_bytes()[1..], &[1]].concat());
    rest.extend(words.iter().flat_map(|w| w.to_be_bytes()));
    rest.resize(rest.len().next_multiple_of(4), 0);
    feedback(15, 205, 9, &rest)
}

/// A receiver report of one block: of `media`, nothing of it true.
fn report(media: u32, rng: &mut Rng) -> Vec<u8> {
    let mut rest = [9u32.to_be_bytes(), media.to_be_bytes()].concat();
    rest.extend((0..20).map(|_| rng.next_u64() as u8));
    packet(1, 201, &rest)
}

/// Compounds that say of the stream `media` what is not so, or what cannot be.
pub fn lies(media: u32, rng: &mut Rng) -> Vec<Vec<u8>> {
    // A run of packets that did not come is 0x0000, of small deltas 0x2000, of large ones 0x4000.
    let (lost, small, large) = (0x1fff, 0x2000, 0x4000);
    let bitrate = |bits: [u8; 4]| feedback(15, 206, 0, &[b"REMB", &bits[..], &[7; 4]].concat());
    let whole: Vec<u8> = report(media, rng);
    let mut all = vec![
        // Packets that were never sent, each of 65,535 lost, forty times over.
        transport(40_000, u16::MAX, 0, &[lost; 9]).repeat(40),
        // The same packet comes earlier and earlier.
        [0xff_ffff, 5, 0].map(|time| transport(0, 2, time, &[large + 2, 0x8000, 0x8001])).concat(),
        // A run of none that is said to have come, and another of which it takes the times.
        transport(0, 2, 0, &[small, large + 2, 1, 1]),
        transport(0, 2, 0, &[large, small + 2, 0x0101]),
        // All that two bits can say, and more than was counted.
        transport(0, 3, 0, &[0xffff, 0xd555, 0xeaaa, 1, 2, 3, 4, 5, 6, 7, 8]),
        transport(0, 500, 9, &[small + 499]),
        bitrate([1, 0, 0, 0]),
        bitrate([1, 0xff, 0xff, 0xff]),
        bitrate([255, 0, 0, 1]),
        whole.repeat(40),
        packet(31, 201, &whole[4..]),
        packet(1, 200, &[&media.to_be_bytes()[..], &[0xff; 44]].concat()),
        // Blocks that are longer than all that was sent, and times of a thousand others.
        packet(0, 207, &[&[0, 0, 0, 9][..], &[5, 0, 0xff, 0xff].repeat(280)].concat()),
        (0..60u32).flat_map(|n| report_time(rng.next_u64() as u32 ^ n)).collect(),
        // A description without an end, a goodbye of the server's own stream.
        packet(1, 202, &[&media.to_be_bytes()[..], &[1, 255, b'x', b'x']].concat()),
        packet(1, 203, &media.to_be_bytes()),
        packet(0, 201, &9u32.to_be_bytes()),
        packet(4, 206, &[9; 12]).repeat(60),
        packet(15, 206, &[3; 1_100]),
        vec![0x80, 201, 0xff, 0xff, 0, 0, 0, 9],
    ];
    for kind in [200, 201, 202, 203, 204, 205, 206, 207] {
        for format in [0, 1, 4, 15, 31] {
            let words = rng.next_u64() % 12;
            let rest: Vec<u8> = (0..words * 4).map(|_| rng.next_u64() as u8).collect();
            all.push([&whole[..], &packet(format, kind, &rest)].concat());
        }
    }
    all
}

/// An extended report with a time to be answered (RFC 3611 §4.4).
fn report_time(sender: u32) -> Vec<u8> {
    let block = [4, 0, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    packet(0, 207, &[&sender.to_be_bytes()[..], &block].concat())
}
