//! Descriptors that browsers sent, and those of a writer that follows §A.8.2 line by line.

use super::*;
use crate::base::rng::Rng;
use crate::wire::bits::writer::Writer;
use crate::wire::frame::{LAYERS_MAX, Layer};

fn layer(spatial: u8, temporal: u8) -> Layer {
    Layer::new(spatial, temporal).unwrap()
}

fn layers() -> impl Iterator<Item = Layer> {
    (0..LAYERS_MAX).flat_map(|spatial| (0..LAYERS_MAX).map(move |t| layer(spatial, t)))
}

fn in_words(targets: Targets) -> Vec<(u8, u8)> {
    layers().filter(|l| targets.has(*l)).map(|l| (l.spatial, l.temporal)).collect()
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

/// L1T2 of libwebrtc, as the tests of a public analysis of conferences have it
/// (olivermichel/webrtc-analysis): two temporal layers, one chain, 320x240.
const L1T2: &str = "800001 80011ea85141010c04fc03bc";

/// L2T2, from the same.
const L2T2: &str = "c0000180 03187aaaf130a0a014d1413823046008642222265009f0077013f00ef0";

/// L3T3 of a browser, as LiveKit's tests have it from a capture.
const L3T3: &str = "c1017280081485214eafffaaaa863cf0430c10c302afc0aaa0063c00430010c002a000a80006000040\
                    001d954926e082b04a0941b820ac1282503157f974000ca864330e222222eca8655304224230eca877\
                    530077004200ef008601df010d";

fn sent(text: &str) -> Vec<u8> {
    hex(&text.replace(' ', ""))
}

fn structure(text: &str) -> Structure {
    *Descriptor::parse(&sent(text), None).unwrap().structure.unwrap()
}

#[test]
fn two_temporal_layers() {
    let said = Descriptor::parse(&sent(L1T2), None).unwrap();
    assert_eq!((said.frame_number, said.starts_keyframe, said.active), (1, true, None));
    assert_eq!((said.frame.is_start, said.frame.is_end), (true, false));
    assert_eq!((said.frame.needed, said.frame.begins), (Targets::ALL, Targets::ALL));
    let known = structure(L1T2);
    assert_eq!((known.targets(), known.chains(), known.active()), (2, 1, 0b11));
    assert_eq!((known.target(0), known.target(1)), (Some(layer(0, 0)), Some(layer(0, 1))));
    assert_eq!((known.size(0), known.size(1)), (Some((320, 240)), None));
    let delta = |first: u8| Descriptor::parse(&[first, 0, 2], Some(&known)).unwrap();
    let base = delta(0x81);
    assert_eq!((base.frame.layer, base.frame.needed), (layer(0, 0), Targets::ALL));
    assert_eq!(base.references.iter().collect::<Vec<u16>>(), [2]);
    assert!(!base.starts_keyframe);
    let upper = delta(0xc2);
    assert_eq!((upper.frame.layer, upper.frame.needed), (layer(0, 1), Targets::from(layer(0, 1))));
    assert_eq!((upper.frame.begins, upper.frame.is_end), (Targets::NONE, true));
    assert_eq!(Descriptor::parse(&[0x83, 0, 2], Some(&known)), None, "no such template");
    assert_eq!(Descriptor::parse(&[0x81, 0, 2], None), None, "no structure");
}

#[test]
fn two_spatial_layers() {
    let known = structure(L2T2);
    let targets: Vec<Layer> = (0..4).map(|target| known.target(target).unwrap()).collect();
    assert_eq!(targets, [layer(0, 0), layer(0, 1), layer(1, 0), layer(1, 1)]);
    assert_eq!(known.serves(Layer::HIGHEST), 3);
    assert_eq!((known.serves(layer(2, 0)), known.serves(layer(0, 3))), (2, 1));
    let frame = |template: u8| Descriptor::parse(&[0x80 | template, 0, 9], Some(&known)).unwrap();
    // The lowest layer's frames: a place to begin for those of the lowest spatial layer alone.
    let base = frame(1);
    assert_eq!(
        (base.frame.needed, base.references.iter().collect::<Vec<u16>>()),
        (Targets::ALL, vec![4])
    );
    let lowest = [(0, 0), (0, 1), (0, 2), (0, 3)];
    assert_eq!(in_words(base.frame.begins), lowest);
    let upper = frame(2).frame;
    assert_eq!((upper.layer, in_words(upper.needed).contains(&(1, 0))), (layer(0, 1), false));
    let above = frame(4);
    assert_eq!(above.frame.layer, layer(1, 0));
    assert_eq!(above.frame.needed, Targets::from(layer(1, 0)));
    assert_eq!(above.references.iter().collect::<Vec<u16>>(), [4, 1]);
    let highest = frame(5).frame;
    assert_eq!((highest.layer, highest.needed), (layer(1, 1), Targets::from(layer(1, 1))));
    assert_eq!(Descriptor::parse(&[0, 0, 9], Some(&known)).unwrap().frame.begins, Targets::NONE);
}

#[test]
fn three_spatial_layers_of_which_the_highest_is_not_sent() {
    let mut known = structure(L3T3);
    assert_eq!((known.targets(), known.chains()), (9, 3));
    assert_eq!(known.target(8), Some(layer(2, 2)));
    let sizes: Vec<_> = (0..4).map(|spatial| known.size(spatial)).collect();
    assert_eq!(sizes, [Some((120, 67)), Some((240, 135)), Some((480, 270)), None]);
    let said = Descriptor::parse(&hex("86017340fc"), Some(&known)).unwrap();
    assert_eq!(said.active, Some(Active { mask: 0x3f, at: 29, count: 9 }));
    // The frame is the lowest spatial layer's of the keyframe's picture's next spatial layer.
    assert_eq!((said.frame_number, said.frame.layer), (0x173, layer(1, 0)));
    assert_eq!(said.references.iter().collect::<Vec<u16>>(), [1]);
    assert_eq!(said.frame.needed, Targets::from(layer(1, 0)));
    known.activate(0x3f);
    assert_eq!((known.serves(Layer::HIGHEST), known.serves(layer(2, 1))), (5, 4));
    for text in ["460173", "8b0174", "0b0174", "c30175"] {
        let said = Descriptor::parse(&hex(text), Some(&known)).unwrap();
        assert!(said.structure.is_none() && said.active.is_none() && !said.starts_keyframe);
    }
}

#[test]
fn who_asks_for_less_than_there_is_gets_the_lowest() {
    let mut known = structure(L3T3);
    known.activate(0b111 << 3);
    assert_eq!((known.serves(layer(0, 2)), known.serves(layer(0, 0))), (3, 3));
    assert_eq!((known.serves(layer(1, 1)), known.serves(layer(3, 3))), (4, 5));
    known.activate(0);
    assert_eq!((known.active(), known.serves(Layer::HIGHEST)), (0, 8));
}

#[test]
fn what_is_cut_short_is_not_understood() {
    for text in [L1T2, L2T2, L3T3] {
        let whole = sent(text);
        let said = Descriptor::parse(&whole, None).unwrap();
        let padded = [&whole[..], &[0, 0]].concat();
        assert_eq!(Descriptor::parse(&padded, None), Some(said));
        let shortest = (0..=whole.len()).find(|cut| {
            let said = Descriptor::parse(&whole[..*cut], None);
            assert!(said.is_some() || *cut < whole.len());
            said.is_some()
        });
        assert_eq!(shortest, Some(whole.len()), "nothing was left over");
    }
}

/// A template: its layer, indications, references and chains.
type Planned = (Layer, Vec<u8>, Vec<u16>, Vec<u8>);

/// A structure as it is made up.
struct Plan {
    offset: u8,
    templates: Vec<Planned>,
    protected_by: Vec<u8>,
    chains: u32,
    sizes: Option<Vec<(u16, u16)>>,
}

struct Chance(Rng);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0.next_u64() % end
    }

    fn many(&mut self, count: u64, end: u64) -> Vec<u64> {
        (0..count).map(|_| self.below(end)).collect()
    }

    fn plan(&mut self) -> Plan {
        let targets = 1 + self.below(32);
        let chains = self.below(targets + 1);
        let mut at = Layer::LOWEST;
        let mut templates = Vec::new();
        loop {
            let indications = self.many(targets, 4).into_iter().map(|i| i as u8).collect();
            let count = self.below(9);
            let references = self.many(count, 16).into_iter().map(|r| r as u16 + 1).collect();
            let chains = self.many(chains, 16).into_iter().map(|c| c as u8).collect();
            templates.push((at, indications, references, chains));
            let next = match self.below(6) {
                0 | 1 => Some(at),
                2 | 3 => Layer::new(at.spatial, at.temporal + 1),
                4 => Layer::new(at.spatial + 1, 0),
                _ => None,
            };
            let Some(next) = next.filter(|_| templates.len() < 64) else { break };
            at = next;
        }
        let protected_by = self.many(targets, chains.max(1)).into_iter().map(|p| p as u8).collect();
        let sides =
            |chance: &mut Chance| (chance.below(1 << 16) as u16, chance.below(1 << 16) as u16);
        let has_sizes = self.below(2) == 0;
        let sizes = has_sizes.then(|| (0..=at.spatial).map(|_| sides(self)).collect());
        let offset = self.below(64) as u8;
        Plan { offset, templates, protected_by, chains: chains as u32, sizes }
    }
}

impl Plan {
    fn targets(&self) -> u32 {
        self.protected_by.len() as u32
    }

    /// template_dependency_structure.
    fn write(&self, out: &mut Writer) {
        out.number(6, self.offset.into());
        out.number(5, self.targets() - 1);
        for pair in self.templates.windows(2) {
            let (before, after) = (pair[0].0, pair[1].0);
            let same = before == after;
            out.number(2, if same { 0 } else { 1 + u32::from(before.spatial != after.spatial) });
        }
        out.number(2, 3);
        for indication in self.templates.iter().flat_map(|template| &template.1) {
            out.number(2, (*indication).into());
        }
        for (_, _, references, _) in &self.templates {
            for back in references {
                out.number(5, 16 | (u32::from(*back) - 1));
            }
            out.number(1, 0);
        }
        out.below(self.targets() + 1, self.chains);
        if self.chains > 0 {
            self.protected_by.iter().for_each(|chain| out.below(self.chains, (*chain).into()));
            let all = self.templates.iter().flat_map(|template| &template.3);
            all.for_each(|back| out.number(4, (*back).into()));
        }
        out.number(1, self.sizes.is_some().into());
        for (width, height) in self.sizes.iter().flatten() {
            out.number(16, (*width).into());
            out.number(16, (*height).into());
        }
    }

    /// decode_target_layers.
    fn highest(&self, target: usize) -> Layer {
        let within = || self.templates.iter().filter(|t| t.1[target] != 0).map(|t| t.0);
        let spatial = within().map(|l| l.spatial).max().unwrap_or(0);
        layer(spatial, within().map(|l| l.temporal).max().unwrap_or(0))
    }

    /// The decode target that serves a layer, and whether any does.
    fn serves(&self, wanted: Layer, active: u32) -> usize {
        let all: Vec<usize> = (0..self.targets() as usize).collect();
        let sent: Vec<usize> = all.iter().copied().filter(|t| active >> t & 1 == 1).collect();
        let sent = if sent.is_empty() { all } else { sent };
        let layer_of = |target: &usize| self.highest(*target);
        let fits = |target: &&usize| {
            let of = layer_of(target);
            of.spatial <= wanted.spatial && of.temporal <= wanted.temporal
        };
        let best = sent.iter().filter(fits).map(layer_of).max();
        let best = best.or(sent.iter().map(layer_of).min()).unwrap();
        let served: Vec<usize> = sent.into_iter().filter(|t| layer_of(t) == best).collect();
        *served.first().unwrap()
    }
}

fn assert_structure(read: &Structure, plan: &Plan, active: u32) {
    assert_eq!(
        (u32::from(read.targets()), u32::from(read.chains())),
        (plan.targets(), plan.chains)
    );
    for target in 0..plan.targets() {
        assert_eq!(read.target(target as u8), Some(plan.highest(target as usize)));
    }
    for wanted in layers() {
        let (serves, planned) = (usize::from(read.serves(wanted)), plan.serves(wanted, active));
        assert_eq!(plan.highest(serves), plan.highest(planned), "{wanted:?}");
    }
    for spatial in 0..LAYERS_MAX {
        let planned = plan.sizes.as_ref().and_then(|sizes| sizes.get(usize::from(spatial)));
        let planned = planned.map(|(w, h)| (w.saturating_add(1), h.saturating_add(1)));
        assert_eq!(read.size(spatial), planned);
    }
}

/// Structures and descriptors by chance, with all that may be in them.
#[test]
fn what_is_written_is_read() {
    let mut chance = Chance(Rng::from_seed([11; 32]));
    let mut kept = None;
    for round in 0..3_000 {
        let attach = round % 3 == 0;
        let (plan, mut known) = match kept.take() {
            Some(kept) if !attach => kept,
            _ => (chance.plan(), None),
        };
        let attach = attach || known.is_none();
        let every = u32::MAX >> (32 - plan.targets());
        let active = (chance.below(3) == 0).then(|| chance.below(1 << 32) as u32 & every);
        let pick = chance.below(plan.templates.len() as u64) as usize;
        let (at, indications, references, _) = &plan.templates[pick];
        let own = (chance.below(3) == 0).then(|| chance.many(plan.targets().into(), 4));
        let own_references = (chance.below(3) == 0).then(|| {
            let count = chance.below(9);
            chance.many(count, 1 << 12)
        });
        let own_chains = chance.below(3) == 0;
        let (edges, number) = (chance.below(4) as u32, chance.below(1 << 16) as u32);
        let mut out = Writer::default();
        out.number(2, edges);
        out.number(6, (u32::from(plan.offset) + pick as u32) % 64);
        out.number(16, number);
        let custom = own.is_some() || own_references.is_some() || own_chains;
        let mut active_at = 0;
        if attach || active.is_some() || custom {
            let flags =
                [attach, active.is_some(), own.is_some(), own_references.is_some(), own_chains];
            flags.iter().for_each(|flag| out.number(1, (*flag).into()));
            if attach {
                plan.write(&mut out);
            }
            active_at = out.bits();
            active.iter().for_each(|mask| out.number(plan.targets(), *mask));
            own.iter().flatten().for_each(|indication| out.number(2, *indication as u32));
            if let Some(references) = &own_references {
                for back in references {
                    let size = 1 + u32::from(*back >= 16) + u32::from(*back >= 256);
                    out.number(2, size);
                    out.number(4 * size, *back as u32);
                }
                out.number(2, 0);
            }
            (0..plan.chains).filter(|_| own_chains).for_each(|chain| out.number(8, chain));
        }
        let bytes = out.bytes();
        let said = Descriptor::parse(&bytes, known.as_deref()).expect("whole");
        if bytes.len() - 1 != MANDATORY_BYTES {
            assert_eq!(Descriptor::parse(&bytes[..bytes.len() - 1], known.as_deref()), None);
        }

        let mask = active
            .unwrap_or_else(|| known.as_deref().map_or(every, |known: &Structure| known.active()));
        assert_eq!(
            said.active.map(|a| (a.mask, a.at, u32::from(a.count))),
            active.map(|mask| (mask, active_at, plan.targets()))
        );
        if let Some(attached) = &said.structure {
            assert!(attach);
            assert_structure(attached, &plan, mask);
            assert_eq!(attached.active(), mask);
        }
        let by = said.structure.as_deref().or(known.as_deref()).unwrap();
        let own = own.map(|own| own.into_iter().map(|i| i as u8).collect::<Vec<u8>>());
        let indications = own.as_ref().unwrap_or(indications);
        for wanted in layers() {
            let mut by = by.clone();
            by.activate(mask);
            let indication = indications[usize::from(by.serves(wanted))];
            assert_eq!(said.frame.needed.has(wanted), indication != 0);
            assert_eq!(said.frame.begins.has(wanted), indication == 2 && edges & 2 != 0);
        }
        let back: Vec<u16> = match own_references {
            Some(references) => references.into_iter().map(|back| back as u16 + 1).collect(),
            None => references.clone(),
        };
        assert_eq!(said.references.iter().collect::<Vec<u16>>(), back);
        assert_eq!(said.starts_keyframe, attach && edges & 2 != 0 && back.is_empty());
        assert_eq!((said.frame.layer, said.frame_number), (*at, number as u16));
        assert_eq!((said.frame.is_start, said.frame.is_end), (edges & 2 != 0, edges & 1 != 0));
        assert_eq!(super::edges(&bytes), (edges & 2 != 0, edges & 1 != 0));
        let keep = said.structure.or(known.take());
        let keep = keep.map(|mut kept| {
            kept.activate(mask);
            kept
        });
        kept = Some((plan, keep));
    }
}

#[test]
fn too_many_layers_templates_and_references_are_refused() {
    let refused = |change: &dyn Fn(&mut Plan)| {
        let mut plan = Plan {
            offset: 0,
            templates: vec![(Layer::LOWEST, vec![2], Vec::new(), Vec::new())],
            protected_by: vec![0],
            chains: 0,
            sizes: None,
        };
        change(&mut plan);
        let mut out = Writer::default();
        out.number(24, 0x80_00_01);
        out.number(5, 16);
        plan.write(&mut out);
        Descriptor::parse(&out.bytes(), None).is_none()
    };
    let climb = |count: usize, spatial: bool| {
        move |plan: &mut Plan| {
            let template = plan.templates[0].clone();
            plan.templates = vec![template; count];
            for (index, template) in (0..).zip(&mut plan.templates) {
                let (s, t) = if spatial { (index, 0) } else { (0, index) };
                template.0 = Layer { spatial: s, temporal: t };
            }
        }
    };
    assert!(!refused(&climb(4, true)) && refused(&climb(5, true)));
    assert!(!refused(&climb(4, false)) && refused(&climb(5, false)));
    let same = |count: usize| {
        move |plan: &mut Plan| plan.templates = vec![plan.templates[0].clone(); count]
    };
    assert!(!refused(&same(64)) && refused(&same(65)));
    let references = |count: usize| move |plan: &mut Plan| plan.templates[0].2 = vec![3; count];
    assert!(!refused(&references(8)) && refused(&references(9)));
}
