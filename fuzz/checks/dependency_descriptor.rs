//! A stream's dependency descriptors, one after another: what was understood lies inside, every layer
//! is served by some decode target, and a frame begins within what is forwarded of it.

use trackyard::media::layers::Layers;
use trackyard::wire::dependency_descriptor::{Descriptor, Structure, edges};
use trackyard::wire::frame::{Frame, LAYERS_MAX, Layer, Targets};

/// Packets: how late one is in its high bits, its codec, two bytes of payload, and the length of the
/// descriptor before it.
pub fn check(mut data: &[u8]) {
    let mut known: Option<Box<Structure>> = None;
    let mut layers = Layers::default();
    let mut newest = 256u64;
    while let Some(([late, codec, first, second, length], rest)) = data.split_first_chunk() {
        let (descriptor, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        data = rest;
        newest += 1;
        let seq = newest - u64::from(late >> 4);
        let codec = super::payload::codec_of(*codec);
        let (frame, starts_keyframe) = layers.read(seq, codec, &[*first, *second], descriptor);
        within(&frame);
        let Some(said) = read(descriptor, known.as_deref()) else { continue };
        assert!(!starts_keyframe || said.starts_keyframe, "a keyframe by its payload");
        if let Some(structure) = said.structure {
            serves(&structure);
            known = Some(structure);
        } else if let (Some(active), Some(known)) = (said.active, &mut known) {
            known.activate(active.mask);
            serves(known);
        }
    }
}

/// Reads one as the first of its stream would be, or by what another brought along.
fn read(bytes: &[u8], known: Option<&Structure>) -> Option<Descriptor> {
    let said = Descriptor::parse(bytes, known)?;
    within(&said.frame);
    assert_eq!((said.frame.is_start, said.frame.is_end), edges(bytes));
    assert!(!said.starts_keyframe || said.structure.is_some() && said.references.is_empty());
    assert!(said.references.iter().all(|back| (1..=1 << 12).contains(&back)));
    if bytes.len() > 3 {
        let longer = [bytes, &[0xff]].concat();
        assert_eq!(Descriptor::parse(&longer, known).as_ref(), Some(&said));
    }
    if let Some(active) = said.active {
        let bit = |at: usize| u32::from(bytes[at / 8] >> (7 - at % 8) & 1);
        let mask =
            (active.at..active.at + usize::from(active.count)).fold(0, |m, at| m << 1 | bit(at));
        assert_eq!(mask, active.mask, "it does not stand there");
    }
    Some(said)
}

/// What holds of any frame.
fn within(frame: &Frame) {
    assert!(Layer::new(frame.layer.spatial, frame.layer.temporal).is_some());
    assert!(frame.is_start || frame.begins.is_empty(), "begun in its midst");
    let in_vain = !frame.begins.without(frame.needed).is_empty();
    assert!(!in_vain || frame.begins == Targets::ALL, "begun by what is not forwarded");
}

/// Every layer by the highest target that is sent and not above it; where there is none, by another.
fn serves(structure: &Structure) {
    assert!((1..=32).contains(&structure.targets()) && structure.chains() <= structure.targets());
    assert_eq!(structure.size(LAYERS_MAX), None);
    let of = |target: u8| structure.target(target).expect("one of those that there are");
    let active = structure.active();
    let sent = |target: &u8| active == 0 || active >> target & 1 == 1;
    let layers = (0..LAYERS_MAX).flat_map(|s| (0..LAYERS_MAX).map(move |t| (s, t)));
    for (spatial, temporal) in layers {
        let fits = |layer: &Layer| layer.spatial <= spatial && layer.temporal <= temporal;
        let best = (0..structure.targets()).filter(sent).map(of).filter(fits).max();
        let by = structure.serves(Layer { spatial, temporal });
        assert!(sent(&by), "served by what is not sent");
        assert!(best.is_none_or(|best| best == of(by)), "not the best");
    }
}
