//! The kernels around cuDNN, on the host, and in between a plain loop over what they have written, as cuDNN would read it.

use candle_core::{DType, Device, Tensor};

use super::*;
use crate::kernels::cuda::emulation::{self, features, halves, on_device, output};
use crate::kernels::testing::{Out, Random, close, contexts, zeros};

/// Half a unit in the last place of a number of 16 bits, relative.
const HALF: f32 = 1.0 / 2048.0;
/// What sums below 4 lose as they are rounded to 16 bits before they are finished, and in another order.
const SUMS: f32 = 4.0 * HALF + 5e-5;

/// Values of 16 bits that no kernel computes.
const UNTOUCHED: u16 = 0x7bcd;

fn values(tensor: &Tensor) -> Vec<f32> {
    let tensor = tensor.to_dtype(DType::F32).unwrap();
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// `[outputs, inputs, k, k]`; weights of 16 bits, the smaller the more there are, so that sums have a size of about 1.
fn filter(random: &mut Random, [outputs, inputs, k]: [usize; 3], stride: usize) -> Filter {
    let scale = 2.0 / ((inputs * k * k) as f32).sqrt();
    let [_, weight] = halves(&random.dense(&[outputs, inputs, k, k], scale));
    let bias = random.dense(&[outputs], 1.0);
    let slopes = (0..outputs).map(|_| random.value()).collect();
    let filter = Filter::new(&weight, &bias, stride).unwrap();
    filter.with_slopes(slopes).unwrap()
}

fn float(bits: u16) -> f32 {
    Half::from_bits(bits).to_f32()
}

/// What cuDNN makes of the joined input and the factors, all with as many channels as `layer` says, rounded to 16 bits.
fn sums(layer: &Layer, joined: &[u16], words: &[u32]) -> Vec<u16> {
    let ([inputs, outputs], (h, w)) = (layer.channels(), layer.size());
    let (k, stride) = (layer.filter.kernel, layer.filter.stride);
    let factor = |i: usize| float((words[i / 2] >> (16 * (i % 2))) as u16);
    let (out_h, out_w) = layer.out.size();
    let mut all = Vec::new();
    for i in 0..out_h * out_w * outputs {
        let (y, x, o) = (i / outputs / out_w, i / outputs % out_w, i % outputs);
        let mut sum = 0.0;
        for tap in 0..k * k {
            let (y, x) = (y * stride + tap / k, x * stride + tap % k);
            let (Some(y), Some(x)) = (y.checked_sub(k / 2), x.checked_sub(k / 2)) else {
                continue;
            };
            if y < h && x < w {
                let (pixel, tap) = ((y * w + x) * inputs, (o * k * k + tap) * inputs);
                let products = (0..inputs).map(|c| float(joined[pixel + c]) * factor(tap + c));
                sum += products.sum::<f32>();
            }
        }
        all.push(Half::from_f32(sum).to_bits());
    }
    all
}

/// All of a convolution; the joined input.
fn run(layer: &Layer) -> Vec<u16> {
    let words = layer.filter.for_cudnn();
    let count = layer.joined_bytes() / size_of::<Half>();
    let mut joined = vec![UNTOUCHED; count + GROUP];
    // vectors are aligned to their numbers alone
    let start = joined.as_ptr().align_offset(16);
    emulation::run([layer.join(joined[start..].as_mut_ptr() as u64)]);
    let outside = [&joined[..start], &joined[start + count..]].concat();
    assert!(outside.iter().all(|v| *v == UNTOUCHED), "wrote beside");
    joined = joined[start..start + count].to_vec();
    let made = sums(layer, &joined, &words);
    assert_eq!(made.len() * size_of::<Half>(), layer.sums_bytes());
    let mut aligned = vec![0; made.len() + GROUP];
    let start = aligned.as_ptr().align_offset(16);
    aligned[start..start + made.len()].copy_from_slice(&made);
    emulation::run([layer.finish(words.as_ptr() as u64, aligned[start..].as_ptr() as u64)]);
    joined
}

/// Runs a convolution on the CPU and here, to 32 bits and to 16, and compares each value.
fn check(
    name: &str,
    filter: &Filter,
    inputs: &[&[Tensor; 2]],
    residual: Option<&[Tensor; 2]>,
    activation: Activation,
) {
    let (h, w, _) = inputs[0][0].dims3().unwrap();
    let size = (h.div_ceil(filter.stride), w.div_ceil(filter.stride));
    let shape = [size.0, size.1, filter.outputs];
    let of = |i: usize| inputs.iter().map(|t| &t[i]).collect::<Vec<_>>();
    let (plain, want) = (contexts().0, zeros(&shape));
    filter
        .apply(&plain, &of(1), residual.map(|r| &r[1]), activation, &want)
        .unwrap();
    let (got, [halved, _]) = (Out::new(size, filter.outputs), halves(&zeros(&shape)));
    for (i, out) in [
        (0, Features::F32(output(&got.tensor()))),
        (1, Features::F16(output(&halved))),
    ] {
        // of 16 bits, or of 32 that lose nothing as they are joined
        let inputs: Vec<_> = of(i).into_iter().map(on_device).collect();
        let residual = residual.map(|r| on_device(&r[i]));
        let layer = Layer::new(filter, &inputs, residual, activation, out);
        run(&layer.unwrap().expect("one that cuDNN has"));
    }
    close(&format!("{name}, f32"), &got.values(), &values(&want), SUMS);
    let tolerance = SUMS + HALF;
    close(
        &format!("{name}, f16"),
        &values(&halved),
        &values(&want),
        tolerance,
    );
}

#[test]
fn every_shape_agrees() {
    let mut random = Random(21);
    for (k, stride) in [(1, 1), (3, 1), (3, 2), (7, 2)] {
        for (inputs, outputs) in [(3, 5), (8, 16), (20, 33), (24, 8)] {
            let filter = filter(&mut random, [outputs, inputs, k], stride);
            for (size, gap) in [((1, 1), 3), ((9, 14), 8), ((5, 17), 0)] {
                let input = features(&mut random, size, inputs, gap);
                let name = format!("{k}x{k} by {stride}, {inputs} to {outputs}, {size:?}");
                check(&name, &filter, &[&input], None, Activation::Linear);
            }
        }
    }
}

#[test]
fn residual_and_activation_agree_over_several_inputs() {
    let mut random = Random(22);
    for parts in [
        &[24, 16, 8, 5][..],
        &[3, 1, 16, 12, 2, 9],
        &[8, 8],
        &[1, 1, 1],
    ] {
        for (outputs, gap) in [(40, 8), (13, 3)] {
            let filter = filter(&mut random, [outputs, parts.iter().sum(), 3], 1);
            let size = (6, 11);
            let inputs = parts.iter().map(|c| features(&mut random, size, *c, gap));
            let inputs: Vec<_> = inputs.collect();
            let residual = features(&mut random, size, outputs, gap);
            let name = format!("{parts:?} to {outputs}");
            let inputs: Vec<_> = inputs.iter().collect();
            check(&name, &filter, &inputs, Some(&residual), Activation::Leaky);
        }
    }
}

#[test]
fn parts_are_joined_one_behind_the_other_with_zeros_to_whole_groups() {
    let mut random = Random(23);
    let (size, parts) = ((4, 9), [5, 16, 2]);
    let filter = filter(&mut random, [8, 23, 1], 1);
    // the second of floats, whose groups do not begin where those of the whole do
    let all = parts.map(|c| features(&mut random, size, c, 8));
    let inputs = [&all[0][0], &all[1][1], &all[2][0]].map(on_device);
    let out = zeros(&[size.0, size.1, 8]);
    let out = Features::F32(output(&out));
    let layer = Layer::new(&filter, &inputs, None, Activation::Linear, out);
    let joined = run(&layer.unwrap().unwrap());
    let want = Tensor::cat(&[&all[0][1], &all[1][1], &all[2][1]], 2).unwrap();
    let want = want.pad_with_zeros(2, 0, 1).unwrap();
    let joined: Vec<_> = joined.into_iter().map(float).collect();
    assert_eq!(joined, values(&want));
}

#[test]
fn one_dense_input_of_whole_groups_is_read_as_it_lies() {
    let mut random = Random(24);
    let size = (3, 5);
    let out = zeros(&[size.0, size.1, 4]);
    for (channels, gap, kind, want) in [
        (16, 0, 0, true),
        (16, 8, 0, false),
        (16, 0, 1, false),
        (12, 0, 0, false),
    ] {
        let filter = filter(&mut random, [4, channels, 3], 1);
        let tensor = &features(&mut random, size, channels, gap)[kind];
        let inputs = [on_device(tensor)];
        let out = Features::F32(output(&out));
        let layer = Layer::new(&filter, &inputs, None, Activation::Linear, out);
        let ready = layer.unwrap().unwrap().ready();
        // candle's memory may begin anywhere that a number may
        let aligned = inputs[0].is_aligned(GROUP);
        assert_eq!(ready.is_some(), want && aligned, "{channels} {gap} {kind}");
    }
}

#[test]
fn sums_too_large_for_sixteen_bits_become_the_largest_number_and_what_is_none_stays_so() {
    let size = (2, 3);
    let weight = Tensor::full(200f32, (1, 8, 1, 1), &Device::Cpu).unwrap();
    let filter = Filter::new(&weight, &zeros(&[1]), 1).unwrap();
    for (value, want) in [(300.0, 65_504.0), (-300.0, -65_504.0), (f32::NAN, f32::NAN)] {
        let input = Tensor::full(value, (size.0, size.1, 8), &Device::Cpu).unwrap();
        let out = Out::new(size, 1);
        let inputs = [on_device(&input)];
        let to = Features::F32(output(&out.tensor()));
        let layer = Layer::new(&filter, &inputs, None, Activation::Linear, to);
        run(&layer.unwrap().unwrap());
        for got in out.values() {
            assert_eq!(got.to_bits(), f32::to_bits(want), "{got} for {value}");
        }
    }
}

#[test]
fn what_cudnn_has_not_stays_ours() {
    let mut random = Random(25);
    let size = (6, 6);
    let input = random.tensor(size, 4, 1.0);
    let out = zeros(&[6, 6, 8]);
    let inputs = [on_device(&input)];
    let layer = |filter: &Filter| {
        let out = Features::F32(output(&out));
        let layer = Layer::new(filter, &inputs, None, Activation::Linear, out);
        layer.map(|layer| layer.is_some())
    };
    let mut new = |k| filter(&mut random, [8, 4, k], 1);
    assert!(layer(&new(3)).unwrap());
    assert!(!layer(&new(2)).unwrap());
    assert!(!layer(&new(3).with_pad((0, 1))).unwrap());
    assert!(!layer(&new(3).reading(Activation::Leaky)).unwrap());
    let strided = filter(&mut random, [8, 4, 3], 2);
    assert!(layer(&strided).is_err());
}
