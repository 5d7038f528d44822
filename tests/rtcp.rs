//! What the server says in RTCP to those who send and to those who watch, on virtual time.
#![allow(clippy::disallowed_methods, reason = "a test makes up its first instant")]

mod common;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use common::world::{NTP_BEGAN, World};
use trackyard::wire::rtcp::{self, Extended, Packet, ReportBlock};

const PUBLISHER: u64 = 1;
const VIEWER: u64 = 2;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// One who sends and one who watches, so far apart; what the server says to both is heard from
/// here on.
fn watched(delay: Duration) -> World {
    let mut world = World::new(1);
    world.net.delay = delay;
    world.join(PUBLISHER, true, 0);
    world.join(VIEWER, false, 1);
    world.until(Duration::from_secs(4), |w| w.clients[&VIEWER].sees(&w.mids(VIEWER)));
    world.clients.values_mut().for_each(|client| client.heard = Some(Vec::new()));
    world
}

fn heard(world: &mut World, id: u64) -> Vec<Vec<u8>> {
    world.clients.get_mut(&id).unwrap().heard.replace(Vec::new()).expect("wanted")
}

fn sent_ssrc(world: &mut World) -> u32 {
    world.clients.get_mut(&PUBLISHER).unwrap().sent_ssrc().expect("it sends")
}

/// Number and SSRC of a packet of RTP, which stand in the clear.
fn rtp(datagram: &[u8]) -> Option<(u16, u32)> {
    let media = datagram[0] >> 6 == 2 && !(64..96).contains(&(datagram[1] & 0x7f));
    let be = |at: usize| u32::from_be_bytes(datagram[at..at + 4].try_into().unwrap());
    media.then(|| (be(0) as u16, be(8)))
}

/// Loses packets that the publisher sends, by a rule on number and SSRC; which ones were lost.
fn lose(world: &mut World, rule: impl Fn(u16, u32) -> bool + 'static) -> Rc<Cell<Vec<u16>>> {
    let (lost, publisher) = (Rc::new(Cell::new(Vec::new())), world.clients[&PUBLISHER].address);
    let told = lost.clone();
    world.net.loses = Some(Box::new(move |client, to_server, bytes| {
        let packet = rtp(bytes).filter(|_| to_server && client == publisher);
        let Some((seq, _)) = packet.filter(|(seq, ssrc)| rule(*seq, *ssrc)) else { return false };
        let mut all = told.take();
        all.push(seq);
        told.set(all);
        true
    }));
    lost
}

fn blocks(compounds: &[Vec<u8>], stream: u32) -> Vec<ReportBlock> {
    let packets = compounds.iter().flat_map(|compound| rtcp::read(compound));
    let blocks = packets.filter_map(|packet| match packet {
        Packet::ReceiverReport { blocks, .. } | Packet::SenderReport { blocks, .. } => {
            Some(blocks.iter())
        }
        _ => None,
    });
    blocks.flatten().filter(|block| block.ssrc == stream).collect()
}

/// The numbers that were asked for again, which are all of that stream.
fn asked_for(compounds: &[Vec<u8>], stream: u32) -> Vec<u16> {
    let packets = compounds.iter().flat_map(|compound| rtcp::read(compound));
    let asked = packets.filter_map(|packet| match packet {
        Packet::Nack { media, missing, .. } => {
            assert_eq!(media, stream);
            Some(missing.iter())
        }
        _ => None,
    });
    asked.flatten().collect()
}

#[test]
fn a_publisher_is_told_how_much_of_its_stream_was_lost() {
    let mut world = watched(ms(10));
    let stream = sent_ssrc(&mut world);
    world.pass(ms(3_000));
    let before = blocks(&heard(&mut world, PUBLISHER), stream);
    assert!((2..=4).contains(&before.len()), "a report a second: {before:?}");
    assert!(before.iter().all(|block| block.lost == 0 && block.fraction_lost == 0), "{before:?}");
    // Every eighth, of its own stream and not of the retransmissions.
    let lost = lose(&mut world, move |seq, ssrc| ssrc == stream && seq.is_multiple_of(8));
    world.pass(ms(20_000));
    let after = blocks(&heard(&mut world, PUBLISHER), stream);
    let lost = lost.take();
    let last = after.last().expect("reports go on");
    let known =
        lost.iter().filter(|seq| (last.highest_seq as u16).wrapping_sub(**seq).cast_signed() >= 0);
    assert_eq!(last.lost as usize, known.count(), "those mended are lost all the same");
    assert!(lost.len() > 40, "{lost:?}");
    for block in &after[2..] {
        assert!((20..=48).contains(&block.fraction_lost), "an eighth is 32: {block:?}");
    }
    assert!(last.last_report != 0 && last.delay < 6 * 65_536, "its own reports came: {last:?}");
}

#[test]
fn a_receiver_that_asks_how_long_its_time_was_under_way_is_told() {
    let mut world = watched(ms(10));
    let address = world.clients[&VIEWER].address;
    let (mut asked, mut told) = (Vec::new(), 0);
    for number in 0..200u64 {
        let mut question = Vec::new();
        rtcp::reference_time(&mut question, 77, 0x1122 << 48 | number << 16 | 0x3344);
        let datagram = world.clients.get_mut(&VIEWER).unwrap().protect_rtcp(&question);
        world.inject(address, &datagram);
        asked.push(world.now);
        world.pass(ms(20));
        for compound in heard(&mut world, VIEWER) {
            let packets = rtcp::read(&compound).filter_map(|packet| match packet {
                Packet::ExtendedReport { blocks, .. } => Some(blocks.iter()),
                _ => None,
            });
            for block in packets.flatten() {
                let Extended::SinceReference(answer) = block else { panic!("{block:?}") };
                if answer.ssrc != 77 {
                    continue;
                }
                // It was kept until it was answered, and the answer was under way for 10 ms.
                let kept = Duration::from_secs_f64(f64::from(answer.delay) / 65_536.0);
                let took = world.now - asked[answer.last_reference as usize];
                assert!(took >= kept + ms(9) && took <= kept + ms(31), "{took:?}, {kept:?}");
                told += 1;
            }
        }
    }
    assert!((3..=5).contains(&told), "once with each report: {told}");
}

#[test]
fn what_a_publisher_lost_is_asked_for_and_comes() {
    for delay in [5, 80] {
        let mut world = watched(ms(delay));
        let stream = sent_ssrc(&mut world);
        world.pass(ms(2_000));
        heard(&mut world, PUBLISHER);
        let lost = lose(&mut world, move |seq, ssrc| ssrc == stream && seq.is_multiple_of(16));
        let counts = |world: &World| {
            let sent = world.clients[&PUBLISHER].sending.as_ref().unwrap().seq;
            (sent, world.clients[&VIEWER].packets)
        };
        let (sent_before, came_before) = counts(&world);
        world.pass(ms(30_000));
        world.net.loses = None;
        world.pass(ms(2_000));
        let (sent, came) = counts(&world);
        let under_way = (came - came_before).abs_diff(sent - sent_before);
        assert!(under_way <= 8, "{} of {} came", came - came_before, sent - sent_before);
        let asked = asked_for(&heard(&mut world, PUBLISHER), stream);
        let lost = lost.take();
        assert!(lost.len() > 30);
        let named: BTreeSet<u16> = asked.iter().copied().collect();
        assert_eq!(named, lost.iter().copied().collect(), "what was lost, and nothing else");
        // A round trip of 160 ms is not known at first: then it is asked twice.
        assert!(asked.len() <= lost.len() + 3, "{} for {}", asked.len(), lost.len());
    }
}

#[test]
fn what_cannot_be_mended_ends_in_a_keyframe() {
    let mut world = watched(ms(20));
    let stream = sent_ssrc(&mut world);
    world.pass(ms(2_000));
    heard(&mut world, PUBLISHER);
    let next = world.clients[&PUBLISHER].sending.as_ref().unwrap().seq as u16 + 5;
    // One packet and all that is sent again.
    let lost = lose(&mut world, move |seq, ssrc| ssrc != stream || seq == next);
    let asks = world.clients[&PUBLISHER].keyframe_requests;
    world.until(ms(2_000), |w| w.clients[&PUBLISHER].keyframe_requests > asks);
    let compounds = heard(&mut world, PUBLISHER);
    let asked = asked_for(&compounds, stream);
    assert!(asked.iter().all(|seq| *seq == next) && (5..=10).contains(&asked.len()), "{asked:?}");
    assert!(lost.take().len() > 2, "and was sent again");
    world.pass(ms(3_000));
    let after = heard(&mut world, PUBLISHER);
    assert!(asked_for(&after, stream).is_empty(), "and is not asked for any more");
}

#[test]
fn nothing_is_said_while_nothing_flows() {
    let mut world = watched(ms(10));
    world.pass(ms(3_000));
    let sending = world.clients.get_mut(&PUBLISHER).unwrap().sending.as_mut().unwrap();
    sending.interval = Duration::from_secs(3_600);
    world.pass(ms(3_000));
    for id in [PUBLISHER, VIEWER] {
        assert!(!heard(&mut world, id).is_empty());
    }
    let (end, mut wakes) = (world.now + ms(10_000), 0);
    while world.now < end {
        let due = world.workers[0].poll_timeout().expect("it reports to the gate");
        world.pass(due.saturating_duration_since(world.now).max(ms(1)));
        wakes += 1;
    }
    for id in [PUBLISHER, VIEWER] {
        assert_eq!(heard(&mut world, id).len(), 0, "{id}");
    }
    assert!(wakes <= 14, "for the gate once a second, for both clients hardly: {wakes}");
}

/// Of every packet of the publisher the server tells once what became of it.
#[test]
fn a_publisher_is_told_of_each_packet_whether_it_came() {
    let mut world = watched(ms(10));
    world.pass(ms(1_000));
    heard(&mut world, PUBLISHER);
    let lost = lose(&mut world, |seq, _| seq.is_multiple_of(10));
    world.net.captured = Some(Vec::new());
    world.pass(ms(20_000));
    world.net.loses = None;
    let from = world.clients[&PUBLISHER].address;
    let captured = world.net.captured.take().expect("wanted");
    let came = captured.iter().filter(|(source, bytes)| *source == from && rtp(bytes).is_some());
    let (came, lost) = (came.count(), lost.take().len());
    world.pass(ms(300));
    let (mut arrived, mut spoken_of, mut feedbacks) =
        (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for compound in heard(&mut world, PUBLISHER) {
        for packet in rtcp::read(&compound) {
            let Packet::TransportFeedback(feedback) = packet else { continue };
            feedbacks.push(feedback.feedback_count);
            let ticks: Vec<u32> = feedback.arrivals().map(|(_, tick)| tick).collect();
            assert!(ticks.is_sorted(), "in the order in which they came");
            spoken_of.extend((0..feedback.count).map(|i| feedback.base.wrapping_add(i)));
            arrived.extend(feedback.arrivals().map(|(seq, _)| seq));
        }
    }
    assert!(feedbacks.windows(2).all(|pair| pair[0].wrapping_add(1) == pair[1]));
    assert!((100..=230).contains(&feedbacks.len()), "{} in 20 s", feedbacks.len());
    let missing = spoken_of.len() - arrived.len();
    // What went just before and after is told of, too.
    assert!(arrived.len().abs_diff(came) <= 10, "{} of {came} came", arrived.len());
    assert!(missing.abs_diff(lost) <= 1 && lost > 40, "{missing} of {lost} did not");
}

/// A viewer's reading of the server's reports: a frame's timestamp stands for the moment at which
/// it was captured, but for what the way to the server takes.
#[test]
fn a_viewer_is_told_which_timestamp_belongs_to_which_time() {
    for delay in [0, 60] {
        let mut world = watched(ms(delay));
        let ssrc = world.clients.get_mut(&VIEWER).unwrap().slot_ssrc();
        world.pass(ms(10_000));
        let mut reports = Vec::new();
        for compound in heard(&mut world, VIEWER) {
            for packet in rtcp::read(&compound) {
                let Packet::SenderReport { ssrc: of, info, .. } = packet else { continue };
                assert_eq!(of, ssrc);
                reports.push(info);
            }
        }
        assert!((8..=12).contains(&reports.len()), "one a second: {}", reports.len());
        let counted =
            reports.windows(2).all(|r| r[0].packets < r[1].packets && r[0].bytes < r[1].bytes);
        assert!(counted, "{reports:?}");
        let sender = world.clients[&PUBLISHER].sending.as_ref().unwrap();
        let judge = world.clients[&VIEWER].slots.values().next().unwrap();
        // Of the last frame, sent at a known time.
        let shown = judge.last_timestamp.expect("something was shown");
        let frames = &world.clients[&VIEWER].arrivals;
        let (_, frame, _) = frames.last().expect("frames came");
        let captured = sender.sent_at[*frame as usize];
        for report in &reports {
            let since_start = |ntp: u64| ntp.wrapping_sub(NTP_BEGAN) as f64 / (1u64 << 32) as f64;
            let ticks = f64::from(shown.wrapping_sub(report.timestamp).cast_signed());
            let said = since_start(report.ntp) + ticks / 90_000.0;
            let is = (captured - world.began).as_secs_f64();
            let late = 1_000.0 * (said - is);
            assert!((-1.0..=delay as f64 + 3.0).contains(&late), "{late} ms late");
        }
    }
}
