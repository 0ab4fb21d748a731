use candle_core::Device;

use super::*;
use crate::kernels::testing::{Random, close, compare, contexts, zeros};

/// Sums of five answers of at most two cells, times scales up to 8: places move by up to 1e-5
/// pixels, and samples, of values below 1, with them.
const TOLERANCE: f32 = 1e-4;

/// Answers of these scales for pictures of this size.
fn answers(
    random: &mut Random,
    (h, w): (usize, usize),
    scales: &[f32],
    channels: usize,
) -> Vec<(Tensor, f32)> {
    let cells = |n: usize, scale: f32| (n as f32 / scale) as usize;
    let tensor = |scale: &f32| {
        let size = (cells(h, *scale), cells(w, *scale));
        (random.tensor(size, channels, 2.0), *scale)
    };
    scales.iter().map(tensor).collect()
}

fn borrowed(answers: &[(Tensor, f32)]) -> Vec<Answer<'_>> {
    fn answer((values, scale): &(Tensor, f32)) -> Answer<'_> {
        let scale = *scale;
        Answer { values, scale }
    }
    answers.iter().map(answer).collect()
}

#[test]
fn fast_and_plain_inputs_agree() {
    let mut random = Random(1);
    let (h, w) = (16, 24);
    for channels in [8, 16, 24, 32] {
        let sides = [0, 1].map(|_| random.tensor((h, w), channels, 1.0));
        for (before, scale) in [
            (&[][..], 8.0),
            (&[8.0], 4.0),
            (&[8.0, 4.0, 2.0], 1.0),
            (&[8.0, 2.0, 1.0, 0.5], 0.5),
        ] {
            for features in [0, FEATURES] {
                let answers = answers(&mut random, (h, w), before, MOTION + features);
                let size = ((h as f32 / scale) as usize, (w as f32 / scale) as usize);
                for masks in [Masks::Added, Masks::Replaced] {
                    let name = format!("{channels} channels at {scale} after {before:?}");
                    let wide = 2 * channels + MOTION + features;
                    let phase = PhaseMap::Uniform(0.3);
                    compare(&name, size, wide, TOLERANCE, |context, out| {
                        // without gaps, as the rows of the fast version are
                        let made = zeros(&[size.0, size.1, wide]);
                        let sides = [&sides[0], &sides[1]];
                        let answers = (&borrowed(&answers)[..], masks);
                        assemble(context, sides, answers, &phase, scale, &made).unwrap();
                        write("copy", out, |mut out| {
                            let made = Source::lock(&made);
                            let made = made.raster()?;
                            let pixel = out.pixel;
                            out.for_each_row(context, |y, row| {
                                for (x, values) in row.chunks_mut(pixel).enumerate() {
                                    values[..wide].copy_from_slice(made.at(y, x));
                                }
                            });
                            Ok(())
                        })
                        .unwrap();
                    });
                }
            }
        }
    }
}

#[test]
fn fast_and_plain_conclusions_agree() {
    let mut random = Random(2);
    for scales in [&[8.0][..], &[16.0, 8.0, 4.0, 2.0, 1.0], &[2.0, 0.5]] {
        let answers = answers(&mut random, (32, 48), scales, MOTION);
        for masks in [Masks::Added, Masks::Replaced] {
            compare(
                "conclusion",
                (32, 48),
                CONCLUSION,
                TOLERANCE,
                |context, out| {
                    conclude(context, (&borrowed(&answers), masks), out).unwrap();
                },
            );
        }
    }
}

#[test]
fn a_cell_is_the_mean_of_its_middle() {
    let (context, _) = contexts();
    let values: Vec<f32> = (0..16 * 8)
        .map(|i| if i % 8 == 0 { (i / 8) as f32 } else { 0.0 })
        .collect();
    let side = Tensor::from_vec(values, (4, 4, 8), &Device::Cpu).unwrap();
    let out = zeros(&[1, 1, 24]);
    let phase = PhaseMap::Uniform(0.25);
    let none = (&[][..], Masks::Added);
    assemble(&context, [&side, &side], none, &phase, 4.0, &out).unwrap();
    let out: Vec<f32> = out.flatten_all().unwrap().to_vec1().unwrap();
    // pixels 5, 6, 9, 10 of 0 to 15
    assert_eq!((out[0], out[8]), (7.5, 7.5));
    assert_eq!(out[16..], [0.0, 0.0, 0.0, 0.0, 0.0, 0.25, 0.0, 0.0]);
}

#[test]
fn a_plane_of_phases_is_enlarged_between_its_cells() {
    let (context, _) = contexts();
    let side = zeros(&[8, 16, 8]);
    let plane = Tensor::new(&[[0.2f32, 0.6]], &Device::Cpu).unwrap();
    let out = zeros(&[8, 16, 24]);
    let none = (&[][..], Masks::Added);
    let phase = PhaseMap::Plane(plane);
    assemble(&context, [&side, &side], none, &phase, 1.0, &out).unwrap();
    let out: Vec<f32> = out.flatten_all().unwrap().to_vec1().unwrap();
    let phases: Vec<f32> = (0..16).map(|x| out[x * 24 + 16 + PHASE]).collect();
    let want: Vec<f32> = (0..16)
        .map(|x| 0.2 + 0.4 * ((x as f32 - 3.5) / 8.0).clamp(0.0, 1.0))
        .collect();
    close("phases", &phases, &want, 1e-6);
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let (context, _) = contexts();
    let side = zeros(&[8, 16, 8]);
    let phase = PhaseMap::Uniform(0.5);
    let run = |right: &Tensor, answer: &Tensor, out: &Tensor| {
        let answers = [Answer {
            values: answer,
            scale: 4.0,
        }];
        let answers = (&answers[..], Masks::Added);
        assemble(&context, [&side, right], answers, &phase, 2.0, out)
    };
    let (answer, out) = (zeros(&[2, 4, 8]), zeros(&[4, 8, 24]));
    assert!(run(&side, &answer, &out).is_ok());
    assert!(run(&zeros(&[8, 16, 16]), &answer, &out).is_err());
    assert!(run(&side, &zeros(&[2, 3, 8]), &out).is_err());
    assert!(run(&side, &zeros(&[2, 4, 9]), &out).is_err());
    assert!(run(&side, &answer, &zeros(&[4, 8, 25])).is_err());
    assert!(run(&side, &answer, &zeros(&[4, 7, 24])).is_err());
}

/// Between four values with their weights, fused, and not in two steps: flows of up to 30 pixels differ by some units in the last place, 4e-6,
/// and by as much of a pixel places, between values that are up to 2 apart.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
const OF_CARDS: f32 = 2e-5;
/// The same where they are rounded to 16 bits: half a unit in the last place, relative.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
const HALF: f32 = 1.0 / 2048.0 + OF_CARDS;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[test]
fn kernels_for_cards_assemble_and_conclude_as_the_plain_ones() {
    use super::cuda::{self, DeviceAnswers};
    use crate::kernels::cuda::{DevicePhase, Features, emulation};
    use crate::kernels::testing::Out;

    let (plain, _) = contexts();
    let mut random = Random(3);
    let (h, w) = (16, 24);
    let plane = random.tensor((2, 3), 1, 0.4);
    let flat = plane.squeeze(2).unwrap();
    for (i, (before, scale)) in [
        (&[][..], 8.0),
        (&[8.0], 4.0),
        (&[8.0, 4.0, 2.0], 1.0),
        (&[8.0, 2.0, 1.0, 0.5], 0.5),
        (&[8.0, 4.0], 2.0),
        (&[4.0, 2.0, 1.0], 4.0),
        (&[8.0, 4.0, 2.0], 1.0),
    ]
    .into_iter()
    .enumerate()
    {
        let (features, side) = (FEATURES * (i % 2), 8 * (i % 4 + 1));
        // what 16 bits hold, without gaps
        let sides = [0, 1].map(|_| emulation::halves(&random.dense(&[h, w, side], 1.0)));
        let [in_half, sides] = [0, 1].map(|k| sides.each_ref().map(|both| both[k].clone()));
        let answers = answers(&mut random, (h, w), before, MOTION + features);
        let values: Vec<_> = answers
            .iter()
            .map(|(t, scale)| (emulation::input(t), *scale))
            .collect();
        let size = ((h as f32 / scale) as usize, (w as f32 / scale) as usize);
        for (masks, is_plane) in [(Masks::Added, false), (Masks::Replaced, true)] {
            let name = format!("{side} channels at {scale} after {before:?}");
            let (phase, place) = match is_plane {
                true => (
                    PhaseMap::Plane(flat.clone()),
                    DevicePhase::Plane(emulation::input(&plane)),
                ),
                false => (PhaseMap::Uniform(0.3), DevicePhase::Uniform(0.3)),
            };
            let on_card = DeviceAnswers {
                values: &values,
                masks,
            };
            let channels = 2 * side + MOTION + features;
            // the plain version writes rows without gaps
            let want = zeros(&[size.0, size.1, channels]);
            let room = Out::new(size, channels);
            let both = [&sides[0], &sides[1]];
            let before = (&borrowed(&answers)[..], masks);
            assemble(&plain, both, before, &phase, scale, &want).unwrap();
            let run = |both, out| {
                let launch = cuda::assemble(both, &on_card, &place, scale, out);
                emulation::run([launch.unwrap()]);
            };
            let both = sides
                .each_ref()
                .map(|side| Features::F32(emulation::input(side)));
            run(both, Features::F32(emulation::output(&room.tensor())));
            let want: Vec<f32> = want.flatten_all().unwrap().to_vec1().unwrap();
            close(&name, &room.values(), &want, OF_CARDS);
            let [halves, _] = emulation::halves(&zeros(&[size.0, size.1, channels]));
            let both = in_half
                .each_ref()
                .map(|side| Features::F16(emulation::input(side)));
            run(both, Features::F16(emulation::output(&halves)));
            let halves = halves.to_dtype(candle_core::DType::F32).unwrap();
            let halves: Vec<f32> = halves.flatten_all().unwrap().to_vec1().unwrap();
            close(&name, &halves, &want, HALF);

            let rooms = [0, 1].map(|_| Out::new((h, w), CONCLUSION));
            let [want, made] = rooms.each_ref().map(Out::tensor);
            conclude(&plain, before, &want).unwrap();
            emulation::run(cuda::conclude(&on_card, &emulation::output(&made)));
            close(&name, &rooms[1].values(), &rooms[0].values(), OF_CARDS);

            for cell in [4, 8, 16] {
                let rooms = [0, 1].map(|_| Out::new((h / cell, w / cell), 1));
                let [want, made] = rooms.each_ref().map(Out::tensor);
                phases(&plain, &phase, cell, &want).unwrap();
                emulation::run(cuda::phases(&place, cell, &emulation::output(&made)));
                assert_eq!(rooms[1].values(), rooms[0].values(), "cells of {cell}");
            }
        }
    }
}
