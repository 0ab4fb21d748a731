use candle_core::{DType, Device, Tensor};

use super::*;
use crate::kernels::cuda::emulation::{self, features, halves, on_device, output};
use crate::kernels::testing::{Out, Random, close, contexts, zeros};

/// Sums of up to 2,000 products of numbers below 1 in another order.
const TOLERANCE: f32 = 5e-5;
/// The same of up to 2,900 of them.
const PATCH: f32 = 1e-4;
/// Half a unit in the last place of a number of 16 bits, relative.
const HALF: f32 = 1.0 / 2048.0;
/// Channels beside those that are read: groups lie at multiples of 16 bytes, or not.
const ALIGNED: usize = 8;
const APART: usize = 3;

fn values(tensor: &Tensor) -> Vec<f32> {
    let tensor = tensor.to_dtype(DType::F32).unwrap();
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// `[outputs, inputs, k, k]`; weights of 16 bits.
fn filter(random: &mut Random, [outputs, inputs, k]: [usize; 3], stride: usize) -> Filter {
    let [_, weight] = halves(&random.dense(&[outputs, inputs, k, k], 1.0));
    let bias = random.dense(&[outputs], 1.0);
    let slopes = (0..outputs).map(|_| random.value()).collect();
    let filter = Filter::new(&weight, &bias, stride).unwrap();
    filter.with_slopes(slopes).unwrap()
}

fn run(
    dense: Dense,
    inputs: &[&Tensor],
    residual: Option<&Tensor>,
    activation: Activation,
    out: Features,
) {
    let weights = dense.weights();
    let inputs: Vec<_> = inputs.iter().map(|t| on_device(t)).collect();
    let residual = residual.map(on_device);
    let launch = dense.launch(weights.as_ptr() as u64, &inputs, residual, activation, out);
    emulation::run([launch.unwrap()]);
}

/// Runs a convolution on the CPU and here, of features of 16 bits and of 32, and compares each value.
fn check(
    name: &str,
    filter: &Filter,
    inputs: &[[Tensor; 2]],
    residual: Option<&[Tensor; 2]>,
    activation: Activation,
) {
    let (h, w, _) = inputs[0][0].dims3().unwrap();
    let size = (h.div_ceil(filter.stride), w.div_ceil(filter.stride));
    let shape = [size.0, size.1, filter.outputs];
    let of = |i: usize| inputs.iter().map(|t| &t[i]).collect::<Vec<_>>();
    let (plain, _) = contexts();
    let want = zeros(&shape);
    filter
        .apply(&plain, &of(1), residual.map(|r| &r[1]), activation, &want)
        .unwrap();
    let want = values(&want);

    let got = Out::new(size, filter.outputs);
    let out = Features::F32(output(&got.tensor()));
    let dense = Dense::one(filter);
    run(dense, &of(1), residual.map(|r| &r[0]), activation, out);
    close(&format!("{name}, f32"), &got.values(), &want, TOLERANCE);

    let [got, _] = halves(&zeros(&shape));
    let out = Features::F16(output(&got));
    run(dense, &of(0), residual.map(|r| &r[1]), activation, out);
    close(
        &format!("{name}, f16"),
        &values(&got),
        &want,
        HALF + TOLERANCE,
    );
}

#[test]
fn every_shape_agrees() {
    let mut random = Random(1);
    for (k, stride) in [(1, 1), (2, 1), (3, 1), (3, 2), (7, 2)] {
        for (inputs, outputs) in [(3, 5), (8, 16), (40, 33), (64, 64)] {
            let filter = filter(&mut random, [outputs, inputs, k], stride);
            for (size, gap) in [((1, 1), APART), ((9, 14), ALIGNED), ((5, 37), APART)] {
                let input = features(&mut random, size, inputs, gap);
                let name = format!("{k}x{k} by {stride}, {inputs} to {outputs}, {size:?}");
                check(&name, &filter, &[input], None, Activation::Linear);
            }
        }
    }
}

#[test]
fn residual_and_activations_agree_over_several_inputs() {
    let mut random = Random(3);
    for (parts, reading) in [
        (&[24, 16, 8, 5][..], Activation::Linear),
        (&[3, 1, 16, 12, 2, 9], Activation::Linear),
        (&[16, 9], Activation::Leaky),
    ] {
        for (outputs, gap) in [(40, ALIGNED), (13, APART)] {
            let shape = [outputs, parts.iter().sum(), 3];
            let mut filter = filter(&mut random, shape, 1);
            let size = (7, 19);
            let mut inputs = Vec::new();
            for c in parts {
                inputs.push(features(&mut random, size, *c, gap));
            }
            if reading == Activation::Leaky {
                // what is activated is rounded after that: values that lose nothing
                let whole = |t: &Tensor| {
                    (t.to_dtype(DType::F32).unwrap() * 8.0)
                        .unwrap()
                        .round()
                        .unwrap()
                        * 0.625
                };
                inputs = inputs
                    .iter()
                    .map(|[_, t]| halves(&whole(t).unwrap()))
                    .collect();
                filter = filter.reading(reading);
            }
            let residual = features(&mut random, size, outputs, gap);
            let name = format!("{parts:?} to {outputs}");
            check(&name, &filter, &inputs, Some(&residual), Activation::Leaky);
        }
    }
}

#[test]
fn every_tile_agrees() {
    let mut random = Random(4);
    for (outputs, tiles) in [(64, &WIDE[..]), (16, &THIN)] {
        let filter = filter(&mut random, [outputs, 32, 3], 1);
        let (dense, size) = (Dense::one(&filter), (11, 29));
        let input = features(&mut random, size, 32, ALIGNED);
        let (plain, _) = contexts();
        let want = zeros(&[size.0, size.1, outputs]);
        let linear = Activation::Linear;
        filter
            .apply(&plain, &[&input[1]], None, linear, &want)
            .unwrap();
        let weights = dense.weights();
        for tile in tiles {
            let got = Out::new(size, outputs);
            let out = Features::F32(output(&got.tensor()));
            let inputs = [on_device(&input[0])];
            let launch = dense.launch(weights.as_ptr() as u64, &inputs, None, linear, out);
            emulation::run([dense.cut(launch.unwrap(), tile, size)]);
            close(tile.function, &got.values(), &values(&want), TOLERANCE);
        }
    }
}

/// Channels of so many tensors, in groups or not, that a patch is for: of more steps than it has room for, and of one.
fn parts_of(shape: Shape) -> &'static [&'static [usize]] {
    match (shape.depth, shape.kernel) {
        (QUARTER_STEP, _) => &[&[8], &[3]],
        (HALF_STEP, _) => &[&[16], &[5, 11]],
        (_, 2) => &[&[32], &[128, 96], &[96, 10]],
        _ => &[&[32], &[3, 61], &[192, 128], &[64, 64, 64, 10]],
    }
}

#[test]
fn every_patch_agrees() {
    let mut random = Random(11);
    for tile in WIDE_PATCHES.iter().chain(&THIN_PATCHES) {
        let shape = tile.shape.unwrap();
        for (i, parts) in parts_of(shape).iter().enumerate() {
            // all of a tile's outputs, and fewer
            let outputs = tile.outputs - 3 * i;
            let inputs = parts.iter().sum();
            let own = filter(&mut random, [outputs, inputs, shape.kernel], shape.stride);
            let (dense, size) = (Dense::one(&own), (11, 37));
            assert!(dense.fits(tile), "{}", tile.function);
            let mut input = Vec::new();
            for c in *parts {
                input.push(features(&mut random, size, *c, ALIGNED));
            }
            let made = (size.0.div_ceil(shape.stride), size.1.div_ceil(shape.stride));
            let residual = features(&mut random, made, outputs, ALIGNED);
            let of = |i: usize| input.iter().map(|t| &t[i]).collect::<Vec<_>>();
            let (plain, _) = contexts();
            let want = zeros(&[made.0, made.1, outputs]);
            let leaky = Activation::Leaky;
            own.apply(&plain, &of(1), Some(&residual[1]), leaky, &want)
                .unwrap();
            let weights = dense.weights();
            let inputs: Vec<_> = of(0).into_iter().map(on_device).collect();
            for residual in &residual {
                let got = Out::new(made, outputs);
                let out = Features::F32(output(&got.tensor()));
                let more = Some(on_device(residual));
                let launch = dense.launch(weights.as_ptr() as u64, &inputs, more, leaky, out);
                emulation::run([dense.cut(launch.unwrap(), tile, made)]);
                let name = format!("{} of {parts:?}", tile.function);
                close(&name, &got.values(), &values(&want), PATCH);
            }
        }
    }
}

#[test]
fn patches_are_chosen_where_there_are_enough() {
    let mut random = Random(13);
    let mut chosen = |[outputs, inputs, kernel]: [usize; 3], stride, size| {
        let filter = filter(&mut random, [outputs, inputs, kernel], stride);
        Dense::one(&filter).tile(size).function
    };
    // of RIFE 4.25 at 1920x1080
    assert_eq!(chosen([32, 32, 3], 1, (272, 480)), "patch_3_1_32_256_32");
    assert_eq!(chosen([64, 64, 3], 1, (136, 240)), "patch_3_1_32_128_64");
    assert_eq!(chosen([96, 96, 3], 1, (68, 120)), "patch_3_1_32_128_32");
    assert_eq!(chosen([128, 128, 3], 1, (34, 60)), "patch_3_1_32_32_32");
    assert_eq!(chosen([192, 192, 3], 1, (17, 30)), "patch_3_1_32_32_32");
    assert_eq!(chosen([16, 32, 3], 2, (544, 960)), "patch_3_2_32_128_16");
    assert_eq!(chosen([32, 16, 3], 2, (272, 480)), "patch_3_2_16_128_32");
    assert_eq!(chosen([16, 16, 3], 1, (544, 960)), "patch_3_1_16_256_16");
    assert_eq!(chosen([16, 3, 3], 2, (544, 960)), "patch_3_2_8_256_16");
    // of FILM's parts of 1088x1024 pixels, with channels that are no whole steps
    assert_eq!(chosen([64, 202, 3], 1, (1024, 1088)), "patch_3_1_32_256_64");
    assert_eq!(chosen([32, 128, 3], 1, (1024, 1088)), "patch_3_1_32_256_32");
    assert_eq!(chosen([512, 2442, 3], 1, (128, 136)), "patch_3_1_32_256_64");
    assert_eq!(chosen([256, 1920, 3], 1, (32, 34)), "patch_3_1_32_32_32");
    // few pixels, and what no patch is for
    assert_eq!(chosen([192, 96, 3], 2, (17, 30)), "dense_32_32");
    assert_eq!(chosen([16, 5, 3], 1, (544, 960)), "dense_128_16");
    assert_eq!(chosen([64, 64, 1], 1, (544, 960)), "dense_128_64");
}

#[test]
fn transposed_convolutions_agree() {
    use super::super::Transposed;

    let mut random = Random(9);
    let ((plain, _), size) = (contexts(), (5, 11));
    let input = features(&mut random, size, 32, ALIGNED);
    let [_, weight] = halves(&random.dense(&[32, 32, 4, 4], 1.0));
    let bias = random.dense(&[32], 1.0);
    // sums of which lose nothing
    let repeated = (random.dense(&[10, 32, 2, 2], 64.0).round().unwrap() / 64.0).unwrap();
    let repeated = Transposed::repeating(&repeated, &random.dense(&[10], 1.0));
    let from_16 = weight.narrow(0, 0, 16).unwrap();
    let from_16 = Transposed::new(&from_16, &bias, 1, &[Some(7), None, Some(0), Some(31)]);
    let spread = |spread, outputs: &[_]| Transposed::new(&weight, &bias, spread, outputs);
    let all: Vec<_> = (0..32).map(Some).collect();
    for (name, transposed, outputs, first) in [
        ("plain", spread(1, &all), 32, 0),
        ("few", spread(1, &all[..5]), 5, 3),
        ("together", spread(1, &all[..4]), 4, 4),
        ("from 16", from_16, 4, 4),
        ("unaligned", spread(1, &all[..3]), 3, 3),
        ("spread", spread(2, &all[..8]), 8, 0),
        ("odd", spread(2, &[Some(1), None, Some(0)]), 3, 1),
        ("repeated", repeated, 10, 2),
    ] {
        let slopes: Vec<_> = (0..outputs).map(|_| random.value()).collect();
        let transposed = transposed.unwrap().with_slopes(&slopes).unwrap();
        let n = transposed.factor();
        let room = || zeros(&[n * size.0, n * size.1, first + outputs + 3]);
        let want = room();
        let channels = transposed.dense().first().inputs;
        let input = input.each_ref().map(|t| t.narrow(2, 0, channels).unwrap());
        transposed
            .apply(&plain, &[&input[1]], first, &want)
            .unwrap();
        let (dense, leaky) = (transposed.dense(), Activation::Leaky);
        let (tiles, patches) = dense.tiles();
        let weights = dense.weights();
        for tile in tiles.iter().chain(patches).filter(|tile| dense.fits(tile)) {
            let (inputs, got) = ([on_device(&input[0])], room());
            let out = Features::F32(output(&got.narrow(2, first, outputs).unwrap()));
            let launch = dense.launch(weights.as_ptr() as u64, &inputs, None, leaky, out);
            emulation::run([dense.cut(launch.unwrap(), tile, size)]);
            let name = format!("{name}, {}", tile.function);
            close(&name, &values(&got), &values(&want), TOLERANCE);
        }
    }
}

#[test]
fn what_is_too_large_for_sixteen_bits_stays_a_number() {
    let mut random = Random(7);
    let (size, most) = ((5, 9), Half::MAX.to_f32());
    // a filter that hands on its input
    let weight = Tensor::eye(16, DType::F32, &Device::Cpu).unwrap();
    let weight = weight.reshape((16, 16, 1, 1)).unwrap();
    let filter = Filter::new(&weight, &zeros(&[16]), 1).unwrap();
    for scale in [7e4, 1e9, f32::MAX] {
        let part = random.tensor(size, 16, scale);
        let [out, _] = halves(&zeros(&[size.0, size.1, 16]));
        let to = Features::F16(output(&out));
        run(Dense::one(&filter), &[&part], None, Activation::Linear, to);
        for (got, x) in values(&out).iter().zip(values(&part)) {
            let want = Half::from_f32(x.clamp(-most, most)).to_f32();
            assert_eq!(*got, want, "{x}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut random = Random(5);
    let strided = filter(&mut random, [8, 4, 3], 2);
    let values = random.tensor((6, 6), 4, 1.0);
    let one = on_device(&values);
    let run = |inputs: &[Features], out: &Tensor| {
        let out = Features::F32(output(out));
        Dense::one(&strided).launch(16, inputs, None, Activation::Linear, out)
    };
    assert!(run(&[one], &zeros(&[3, 3, 8])).is_ok());
    assert!(run(&[one], &zeros(&[3, 4, 8])).is_err());
    assert!(run(&[one, one], &zeros(&[3, 3, 8])).is_err());
    assert!(run(&[], &zeros(&[3, 3, 8])).is_err());
}
