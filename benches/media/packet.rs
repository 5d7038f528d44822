//! Reading a packet of VP8 as it came, and writing it as it leaves, before it is sealed.

use std::hint::black_box;
use std::time::Instant;

use criterion::Criterion;
use trackyard::media::extensions::{ExtensionIds, Received};
use trackyard::media::packet::{Head, Packet};
use trackyard::media::rewrite::{Outcome, Rewriter};
use trackyard::wire::codec::Codec;
use trackyard::wire::frame::Layer;
use trackyard::wire::payload;
use trackyard::wire::rtp::{Fixed, Header, Writer};

use super::machine::ThreadTime;

const FIXED: Fixed = Fixed { payload_type: 96, marker: true, seq: 1, timestamp: 7, ssrc: 9 };
const IDS: ExtensionIds = ExtensionIds {
    mid: 1,
    rid: 0,
    repaired_rid: 0,
    transport_sequence_number: 2,
    absolute_send_time: 3,
    audio_level: 0,
    video_orientation: 4,
    video_content_type: 5,
    playout_delay: 6,
    dependency_descriptor: 0,
};

/// With a picture id of 15 bits and a TL0PICIDX: the first packet of a keyframe, or of another frame.
pub fn vp8(picture_id: u16, keyframe: bool) -> Vec<u8> {
    let [high, low] = (picture_id | 0x8000).to_be_bytes();
    let mut payload = vec![0x90, 0xe0, high, low, 1, 0x20, u8::from(!keyframe)];
    payload.resize(1_100, 7);
    payload
}

pub fn all(criterion: &mut Criterion<ThreadTime>) {
    let mut bench = super::bench(criterion, "packet");

    let mut received = Vec::new();
    let mut writer = Writer::begin(&mut received, FIXED, false);
    writer.element(IDS.mid, b"0");
    writer.element(IDS.transport_sequence_number, &[0, 1]);
    writer.element(IDS.absolute_send_time, &[0, 0, 1]);
    writer.element(IDS.video_orientation, &[1]);
    writer.end();
    received.extend(vp8(1, false));
    let read = |_: &mut (), _: &mut ()| {
        let packet = black_box(&received[..]);
        let header = Header::parse(packet).expect("whole");
        let said = Received::read(&header, packet, &IDS);
        let payload = &packet[header.bytes..header.payload_end(packet).expect("not padded")];
        black_box((payload::starts_keyframe(Codec::Vp8, payload), said));
        black_box(payload::frame(Codec::Vp8, payload));
        black_box(payload::counters(Codec::Vp8, payload));
    };
    bench.run(("parse", 1), &mut (), |_| (), read);

    let now = Instant::now();
    let payload = vp8(1, true);
    let head = Head {
        ssrc: 9,
        encoding: 0,
        take: 0,
        seq: 1,
        timestamp: 7,
        marker: true,
        codec: Codec::Vp8,
        starts_keyframe: true,
        frame: payload::frame(Codec::Vp8, &payload),
        counters: payload::counters(Codec::Vp8, &payload),
        extensions: Default::default(),
        received: now,
    };
    let packet = Packet { head, payload: &payload, descriptor: &[] };
    let mut slot = (Rewriter::new(1_000, 1_000), Vec::with_capacity(2_048));
    let write = |(rewriter, arena): &mut (Rewriter, Vec<u8>), _: &mut ()| {
        arena.clear();
        let outcome = rewriter.rewrite(black_box(&packet), Layer::HIGHEST);
        let Outcome::Send(rewritten) = outcome else { panic!("begins with a keyframe") };
        let (seq, timestamp) = (rewritten.seq as u16, rewritten.timestamp);
        let mut writer = Writer::begin(arena, Fixed { seq, timestamp, ..FIXED }, false);
        writer.element(IDS.transport_sequence_number, &[0; 2]);
        writer.element(IDS.mid, b"0");
        let header = writer.end();
        arena.extend_from_slice(packet.payload);
        rewritten.patch_payload(&mut arena[header..]);
        black_box(arena);
    };
    bench.run(("rewrite", 1), &mut slot, |_| (), write);
}
