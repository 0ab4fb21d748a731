//! The launches of `cuda.cu`.

use super::{CUES, HYPOTHESES, Space, arrivals};
use crate::kernels::cuda::{Card, DeviceRaster, Launch};
use crate::kernels::luma::SAMPLES;
use crate::kernels::luma::cuda::{Quads, differences};

/// As [`super::remember`], from the last two channels of what was found, and
/// [`foresee`](crate::kernels::bend::foresee), from the first two.
///
/// # Errors
/// Sizes that do not fit.
pub fn scaled(
    motion: &DeviceRaster,
    pace: Option<f32>,
    out: &DeviceRaster,
) -> candle_core::Result<Launch> {
    motion.expect("the motion found", out.size(), 2)?;
    out.expect("the motion beside", out.size(), 3)?;
    let launch = Launch::new("hypotheses", "hypotheses_scaled").pixels(out.size());
    let launch = launch.reads(motion).with(pace.unwrap_or(0.0));
    Ok(launch.with(i32::from(pace.is_some())).raster(out))
}

/// As [`super::gather`].
///
/// # Errors
/// Sizes that do not fit.
pub fn gather(
    ways: [&DeviceRaster; 2],
    factor: usize,
    found: &DeviceRaster,
) -> candle_core::Result<Launch> {
    let size = ways[0].size();
    let cells = (size.0.div_ceil(factor), size.1.div_ceil(factor));
    for way in ways {
        way.expect("the motion of a search", size, 2)?;
    }
    found.expect("the motion found", cells, 4)?;
    let launch = Launch::new("hypotheses", "hypotheses_gather").pixels(cells);
    let launch = launch.reads(ways[0]).reads(ways[1]).with(factor as i32);
    Ok(launch.raster(found))
}

/// What lies between the steps; as [`super::Space`].
#[derive(Debug, Clone, Copy)]
pub struct DeviceSpace {
    /// `[h, w, 8]`.
    pub flows: DeviceRaster,
    /// `[h, w, 1]` each; the last one is that of [`super::rest`], from [`crate::kernels::still`], once a pair.
    pub costs: [DeviceRaster; HYPOTHESES],
    /// `[h, w, 4]`.
    pub chosen: DeviceRaster,
    /// `[h, w, 1]`.
    pub arrivals: DeviceRaster<u32>,
}

impl Space {
    /// The same on a card that its tensors lie on.
    ///
    /// # Errors
    /// They do not.
    pub fn on(&self, card: &dyn Card) -> candle_core::Result<DeviceSpace> {
        let [a, b, c] = &self.costs;
        Ok(DeviceSpace {
            flows: card.raster(&self.flows)?,
            costs: [card.raster(a)?, card.raster(b)?, card.raster(c)?],
            chosen: card.raster(&self.chosen)?,
            arrivals: card.words(&self.arrivals)?,
        })
    }
}

/// As [`super::choose`].
///
/// # Errors
/// Sizes that do not fit.
pub fn choose(
    luma: [&Quads; 2],
    (found, past): (&DeviceRaster, &DeviceRaster),
    phase: &DeviceRaster,
    space: &DeviceSpace,
    (flow, cues): (&DeviceRaster, &DeviceRaster),
) -> candle_core::Result<[Launch; 5]> {
    let size = phase.size();
    phase.expect("the phase", size, 1)?;
    found.expect("the motion found", size, 4)?;
    past.expect("the past", size, 3)?;
    space.flows.expect("the hypotheses", size, 8)?;
    flow.expect("the flow", size, 4)?;
    cues.expect("the cues", size, CUES)?;
    for cost in &space.costs {
        cost.expect("the costs", size, 1)?;
    }
    space.chosen.expect("the choice", size, 4)?;
    space.arrivals.expect("arrivals", size, 1)?;
    arrivals::expect_few(size)?;
    let project = Launch::new("hypotheses", "hypotheses_project").pixels(size);
    let project = project.reads(found).reads(phase).raster(&space.flows);
    let [first, second, rest] = &space.costs;
    let compare = differences(luma, &space.flows, SAMPLES as f32, &[first, second])?;
    let choose = Launch::new("hypotheses", "hypotheses_choose").pixels(size);
    let choose = choose.reads(&space.flows).reads(first).reads(second);
    let choose = choose.reads(rest).reads(luma[0]).reads(luma[1]);
    let choose = choose.raster(&space.chosen).raster(cues);
    let choose = choose.raster(&space.arrivals);
    let arrive = Launch::new("hypotheses", "hypotheses_arrive").pixels(size);
    let arrive = arrive.reads(found).reads(phase).reads(&space.chosen);
    let arrive = arrive.raster(&space.arrivals);
    let settle = Launch::new("hypotheses", "hypotheses_settle").pixels(size);
    let settle = settle.reads(found).reads(past).reads(phase);
    let settle = settle.reads(&space.chosen).reads(&space.arrivals);
    let settle = settle.reads(luma[0]).reads(luma[1]);
    let settle = settle.raster(flow).raster(cues);
    Ok([project, compare, choose, arrive, settle])
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};

    use super::super as door;
    use super::super::tests::{nearly_alike, thing};
    use super::*;
    use crate::kernels::cuda::emulation::{input, output, run};
    use crate::kernels::luma::Warped;
    use crate::kernels::luma::cuda::in_quads;
    use crate::kernels::testing::{Out, Random, SIZES, bytes, contexts, zeros};

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// What is no number is the same as any that is none.
    fn same(what: &str, got: &[f32], want: &[f32]) {
        for (i, (got, want)) in got.iter().zip(want).enumerate() {
            let none = got.is_nan() && want.is_nan();
            assert!(
                got == want || none,
                "{what}: value {i} is {got}, not {want}"
            );
        }
    }

    fn check(what: &str, luma: [&Tensor; 2], found: &Tensor, pace: Option<f32>, t: f32) {
        let (h, w, _) = found.dims3().unwrap();
        let (plain, _) = contexts();
        let phase = Tensor::full(t, (h, w, 1), &Device::Cpu).unwrap();
        let past = zeros(&[h, w, 3]);
        door::remember(&plain, found, pace, &past).unwrap();
        let space = Space::new((h, w), &Device::Cpu).unwrap();
        door::rest(&plain, luma, &space).unwrap();
        let warped = Warped::new((h, w)).unwrap();
        let [want, got] = [0, 1].map(|_| (Out::new((h, w), 4), Out::new((h, w), CUES)));
        let to = (&want.0.tensor(), &want.1.tensor());
        let spaces = (&space, &warped);
        door::choose(&plain, luma, (found, &past), &phase, spaces, to).unwrap();

        let (flows, costs) = (zeros(&[h, w, 8]), [0; 2].map(|_| zeros(&[h, w, 1])));
        let chosen = zeros(&[h, w, 4]);
        let arrivals = Tensor::zeros((h, w, 1), DType::U32, &Device::Cpu).unwrap();
        let device = DeviceSpace {
            flows: output(&flows),
            costs: [output(&costs[0]), output(&costs[1]), input(&space.costs[2])],
            chosen: output(&chosen),
            arrivals: output(&arrivals),
        };
        let [(_left, left), (_right, right)] = luma.map(in_quads);
        let (flow, cues) = (output(&got.0.tensor()), output(&got.1.tensor()));
        let motions = (&input(found), &input(&past));
        let phase = input(&phase);
        run(choose([&left, &right], motions, &phase, &device, (&flow, &cues)).unwrap());
        same(&format!("{what}, flow"), &got.0.values(), &want.0.values());
        same(&format!("{what}, cues"), &got.1.values(), &want.1.values());
    }

    #[test]
    fn choices_are_the_same() {
        let mut random = Random(1);
        for size in SIZES {
            let luma = [0; 2].map(|_| {
                let (h, w) = (SAMPLES * size.0, SAMPLES * size.1);
                bytes(&random.dense(&[h, w, 1], 0.5))
            });
            let found = random.tensor(size, 4, 3.0);
            for (t, pace) in [(0.25, None), (0.5, Some(0.5)), (0.9, Some(2.0))] {
                check(&format!("{size:?}"), luma.each_ref(), &found, pace, t);
            }
        }
    }

    #[test]
    fn what_is_nearly_alike_is_chosen_the_same() {
        let size = (9, 24);
        for slope in [0.25, 0.5, 1.0, 2.0] {
            let luma = nearly_alike(size, slope).map(|luma| bytes(&luma));
            let even = [2.0f32, 0.5, -2.0, -0.5].repeat(size.0 * size.1);
            let found = Tensor::from_vec(even, (size.0, size.1, 4), &Device::Cpu);
            check("nearly alike", luma.each_ref(), &found.unwrap(), None, 0.5);
        }
    }

    #[test]
    fn what_arrives_is_the_same() {
        for (by, ground, post, tiles) in [
            (8.0, 0.0, false, false),
            (7.4, -1.0, false, true),
            (0.0, 4.0, true, false),
            (0.0, 4.0, true, true),
        ] {
            let (luma, found) = thing(by, ground, post, tiles);
            let luma = luma.map(|luma| bytes(&luma));
            for t in [0.25, 0.5, 0.9] {
                let what = format!("{by} over {ground}, {t}");
                check(&what, luma.each_ref(), &found, Some(1.0), t);
            }
        }
    }

    #[test]
    fn wild_motion_stays_inside() {
        let mut random = Random(2);
        let luma = [0; 2].map(|_| bytes(&random.dense(&[20, 28, 1], 0.5)));
        for wild in [f32::NAN, f32::INFINITY, 1e30] {
            let found =
                Tensor::from_vec([wild, -wild, 1.0, wild].repeat(35), (5, 7, 4), &Device::Cpu);
            check("wild", luma.each_ref(), &found.unwrap(), Some(1.0), 0.5);
        }
    }

    #[test]
    fn motion_is_gathered_and_what_was_there_remembered() {
        let mut random = Random(3);
        let (plain, _) = contexts();
        for (h, w) in SIZES {
            for factor in [1, 2, 4] {
                let ways = [0; 2].map(|_| random.tensor((h, w), 2, 3.0));
                let cells = [h.div_ceil(factor), w.div_ceil(factor)];
                let before = random.dense(&[cells[0], cells[1], 4], 1.0);
                for pace in [None, Some(0.75)] {
                    let found = [0, 1].map(|_| before.copy().unwrap());
                    let past = [0, 1].map(|_| zeros(&[cells[0], cells[1], 3]));
                    door::remember(&plain, &found[0], pace, &past[0]).unwrap();
                    door::gather(&plain, ways.each_ref(), factor, &found[0]).unwrap();
                    let [forth, back] = ways.each_ref().map(input);
                    let before = input(&found[1].narrow(2, 2, 2).unwrap());
                    run([scaled(&before, pace, &output(&past[1])).unwrap()]);
                    run([gather([&forth, &back], factor, &output(&found[1])).unwrap()]);
                    assert_eq!(values(&found[1]), values(&found[0]), "{h}x{w} by {factor}");
                    assert_eq!(values(&past[1]), values(&past[0]), "{h}x{w} by {factor}");
                }
            }
        }
    }
}
