//! The engine alone: one new 4:2:0 frame between two, beside plain blending.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

#[path = "../examples/common/mod.rs"]
mod common;

use common::clip::Clip;
use common::middle::Middle;

const SIZES: [(usize, usize); 4] = [(640, 480), (1280, 720), (1920, 1080), (3840, 2160)];

fn new_frame(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("new frame");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5));
    for (width, height) in SIZES {
        let clip = Clip::new(width, height);
        let (left, right) = (clip.at(0.9), clip.at(0.9 + 1.0 / 30.0));
        let name = format!("{width}x{height}");
        group.bench_function(BenchmarkId::new("blend", &name), |bencher| {
            bencher.iter(|| black_box(left.blend(&right)));
        });
        let mut middle = Middle::built_in((width, height)).expect("an engine");
        group.bench_function(BenchmarkId::new("interpolate", &name), |bencher| {
            bencher.iter(|| black_box(middle.make(&left, &right).expect("a frame")));
        });
    }
    group.finish();
}

criterion_group!(benches, new_frame);
criterion_main!(benches);
