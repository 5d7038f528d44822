use super::*;
use crate::base::limits::ENCODINGS_MAX;

fn seen(ladder: &Ladder) -> Vec<(u16, u8)> {
    ladder.steps().iter().map(|step| (step.size.height, step.fps)).collect()
}

#[test]
fn a_camera_loses_frames_then_size_but_never_looks_like_slides() {
    let all = [(180, 7), (180, 15), (180, 30), (360, 15), (360, 30), (720, 15), (720, 30)];
    assert_eq!(seen(&camera()), all);
}

#[test]
fn a_screen_loses_frames_and_keeps_its_size() {
    let screen = ladder(Source::Screen, &targets(&[(960, 540, 600), (1920, 1080, 1_000)]));
    // At 540 lines, 15 frames save nothing against 1080 lines with 7, nor do 30.
    assert_eq!(seen(&screen), [(540, 7), (1080, 7), (1080, 15), (1080, 30)]);
    let given = |budget| {
        let mut allocator = Allocator::default();
        let mut demand = tile(0, &screen, size(1920, 1080));
        demand.source = Source::Screen;
        shown(&allocator.allocate(kbps(budget), &[demand], Instant::now()).slots[0], &screen)
    };
    assert_eq!([1_200, 1_000, 600].map(given), [(1080, 30), (1080, 15), (1080, 7)].map(Some));
    assert_eq!([300, 200].map(given), [Some((540, 7)), None]);
}

#[test]
fn steps_get_better_and_dearer_whatever_is_measured() {
    let mut rng = Rng::from_seed([3; 32]);
    for source in [Source::Camera, Source::Screen] {
        let mut ladder = Ladder::new(source);
        for _ in 0..2_000 {
            let steps: Vec<Step> = (0..below(&mut rng, 60)).map(|_| any_step(&mut rng)).collect();
            ladder.rebuild(&steps);
            let sent = steps
                .iter()
                .any(|s| usize::from(s.encoding) < ENCODINGS_MAX && s.rate > Bitrate::ZERO);
            assert_eq!(ladder.steps().is_empty(), !sent);
            assert!(ladder.steps().len() <= STEPS_MAX);
            let pairs = ladder.steps().windows(2);
            assert!(pairs.clone().all(|p| p[0].rate < p[1].rate && p[1].rate <= RATE_MAX));
            let sized = ladder.steps().iter().all(|s| s.size.area() > 0);
            assert!(!sized || pairs.clone().all(|p| p[0].size.area() <= p[1].size.area()));
            let most = ladder.steps().len();
            for step in &steps {
                assert!((most.min(1)..=most).contains(&usize::from(ladder.nearest(step))));
            }
            let top = ladder.top(size(640, 360), Some(15));
            assert!((most.min(1)..=most).contains(&usize::from(top)));
            assert!((top.min(1)..=top).contains(&ladder.readable(top)));
        }
    }
}

pub(super) fn any_step(rng: &mut Rng) -> Step {
    let sides = [90, 180, 270, 360, 720, 1080];
    let mut side = || sides[below(rng, 6) as usize];
    let size = size(side(), side());
    let layer = Layer { spatial: below(rng, 4) as u8, temporal: below(rng, 4) as u8 };
    let rate = match below(rng, 8) {
        0 => Bitrate::ZERO,
        1 => Bitrate::MAX,
        _ => kbps(below(rng, 3_000)),
    };
    Step { encoding: below(rng, 4) as u8, layer, rate, size, fps: below(rng, 61) as u8 }
}

#[test]
fn sizes_of_some_are_sizes_of_none() {
    let mut steps = targets(&CAMERA);
    steps[8].size = Size::default();
    let ladder = ladder(Source::Camera, &steps);
    assert_eq!(ladder.steps().iter().map(|step| step.encoding).max(), Some(2));
    for (count, step) in (1..).zip(ladder.steps()) {
        assert_eq!((step.size, ladder.nearest(step)), (Size::default(), count));
    }
    assert_eq!(usize::from(ladder.top(size(320, 180), None)), ladder.steps().len());
}

#[test]
fn a_step_that_saves_little_does_not_come_and_go() {
    // 360 lines with all frames, against 720 with half of them, which cost 900.
    let near = |rate| {
        let mut steps = targets(&CAMERA);
        steps[5].rate = kbps(rate);
        steps
    };
    let mut ladder = Ladder::new(Source::Camera);
    let mut has = |rate| {
        ladder.rebuild(&near(rate));
        ladder.steps().iter().any(|step| (step.size.height, step.fps) == (360, 30))
    };
    assert_eq!(
        [760, 700, 760, 800, 820, 760].map(&mut has),
        [false, true, true, true, false, false]
    );
}

#[test]
fn an_encoding_that_begins_is_not_taken_for_cheap() {
    let large = |rate| {
        let mut steps = targets(&CAMERA);
        for (step, (_, share, _)) in steps[6..].iter_mut().zip(SHARES) {
            step.rate = kbps(rate * share / 100);
        }
        steps
    };
    let mut ladder = Ladder::new(Source::Camera);
    let mut has = |rate| {
        ladder.rebuild(&large(rate));
        ladder.steps().iter().any(|step| step.size.height == 720)
    };
    assert_eq!(
        [50, 450, 1_000, 450, 390, 450].map(&mut has),
        [false, false, true, true, false, false]
    );
}

#[test]
fn a_picture_is_as_large_as_its_place_and_no_larger() {
    let ladder = camera();
    let top = |width, height, fps| {
        let top = ladder.top(size(width, height), fps);
        seen(&ladder)[usize::from(top) - 1]
    };
    assert_eq!(top(320, 180, None), (180, 30));
    assert_eq!(top(400, 225, None), (180, 30));
    assert_eq!(top(401, 226, None), (360, 30));
    assert_eq!(top(1280, 720, None), (720, 30));
    assert_eq!(top(3840, 2160, None), (720, 30));
    assert_eq!(top(1280, 720, Some(15)), (720, 15));
    assert_eq!(top(1280, 720, Some(10)), (180, 7));
    assert_eq!(top(1280, 720, Some(1)), (180, 7), "the least there is");
    // A camera on its side fills a wide place by its width.
    let portrait = super::ladder(Source::Camera, &targets(&[(180, 320, 150), (360, 640, 500)]));
    assert_eq!(portrait.top(size(320, 180), None), 5);
    let screen = super::ladder(Source::Screen, &targets(&[(180, 320, 150), (360, 640, 500)]));
    assert_eq!(screen.steps()[usize::from(screen.top(size(320, 180), None)) - 1].size.height, 320);
}

#[test]
fn what_is_readable_is_a_face_or_a_text() {
    let cameras = camera();
    let face = |top| seen(&cameras)[usize::from(cameras.readable(top)) - 1];
    assert_eq!([7, 5, 4, 3, 1].map(face), [(360, 15), (360, 15), (360, 15), (180, 30), (180, 7)]);
    let screen = ladder(Source::Screen, &targets(&[(960, 540, 600), (1920, 1080, 1_000)]));
    assert_eq!(screen.readable(4), 2);
    let mut sizeless = targets(&CAMERA);
    sizeless.iter_mut().for_each(|step| step.size = Size::default());
    assert_eq!(ladder(Source::Camera, &sizeless).readable(7), 4, "half, not all");
}

#[test]
fn what_vanished_is_found_again_by_what_is_like_it() {
    let full = camera();
    let at = |ladder: &Ladder, place: usize| ladder.nearest(&full.steps()[place]);
    for place in 0..7 {
        assert_eq!(usize::from(at(&full, place)), place + 1);
    }
    let small = ladder(Source::Camera, &targets(&CAMERA[..2]));
    assert_eq!([at(&small, 6), at(&small, 5), at(&small, 3)], [5, 5, 4]);
    let large = ladder(Source::Camera, &targets(&[(1, 1, 0), (640, 360, 500), (1280, 720, 1_500)]));
    assert_eq!([at(&large, 0), at(&large, 3)], [1, 2]);
    assert_eq!(at(&Ladder::new(Source::Camera), 0), 0);
    // 360 lines with all frames gave way to 720 with half of them, for nearly the same.
    let mut steps = targets(&CAMERA);
    steps[7].rate = kbps(540);
    let near = ladder(Source::Camera, &steps);
    assert_eq!(seen(&near), [(180, 7), (180, 15), (180, 30), (360, 15), (720, 15), (720, 30)]);
    assert_eq!(at(&near, 4), 5);
}
