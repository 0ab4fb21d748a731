//! Checkpoints of the published networks, made from their names as `training/parity/common.py` does.

#![allow(dead_code, reason = "each test uses its part")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};

/// Where the fixtures of `training/parity/` lie.
pub fn folder() -> PathBuf {
    // where a test is carried to, its folder may be another than where it was built
    let root = std::env::var("CARGO_MANIFEST_DIR");
    let root = root.unwrap_or(env!("CARGO_MANIFEST_DIR").into());
    Path::new(&root).join("tests/data/published")
}

/// `count` values of -1 to 1: as `hashed` in training/parity/common.py.
pub fn hashed(name: &str, count: usize) -> impl Iterator<Item = f32> {
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |seed, byte| {
        (seed ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    (1..=count as u64).map(move |i| {
        let mut x = seed.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^= x >> 31;
        (x >> 40) as f32 / (1 << 23) as f32 - 1.0
    })
}

/// The tensors whose names, sizes and spans `name`.txt lists.
pub fn tensors(name: &str) -> HashMap<String, Tensor> {
    let list = std::fs::read_to_string(folder().join(format!("{name}.txt"))).unwrap();
    let tensor = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        let sizes = words[1].split(',').filter(|s| !s.is_empty());
        let sizes: Vec<usize> = sizes.map(|s| s.parse().unwrap()).collect();
        let [offset, gain] = [2, 3].map(|i: usize| words[i].parse::<f32>().unwrap());
        let values = hashed(words[0], sizes.iter().product()).map(|v| offset + gain * v);
        let values: Vec<f32> = values.collect();
        let tensor = Tensor::from_vec(values, sizes, &Device::Cpu).unwrap();
        (words[0].to_string(), tensor)
    };
    list.lines().map(tensor).collect()
}
