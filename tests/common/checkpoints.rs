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

/// All fixtures whose names begin so.
pub fn fixtures(family: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder()).unwrap();
    let stem = |path: PathBuf| Some(path.file_stem()?.to_str()?.to_string());
    let paths = entries.map(|e| e.unwrap().path());
    let lists = paths.filter(|p| p.extension().is_some_and(|e| e == "txt"));
    let names = lists.filter_map(stem);
    let mut names: Vec<_> = names.filter(|n| n.starts_with(family)).collect();
    names.sort();
    assert!(!names.is_empty(), "no fixtures of {family}");
    names
}

/// `[height, width, 3]` of waves: as `picture` in training/parity/common.py.
pub fn waves((height, width): (usize, usize), moved: f64) -> Tensor {
    let mut values = Vec::with_capacity(height * width * 3);
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        let (x, y) = (x as f64 - moved, y as f64 - moved / 2.0);
        for c in 0..3 {
            let c = f64::from(c);
            let waves = 0.2 * (0.19 * x + c).sin() + 0.2 * (0.13 * y - 0.05 * x + 2.0 * c).cos();
            values.push((0.5 + waves) as f32);
        }
    }
    Tensor::from_vec(values, (height, width, 3), &Device::Cpu).unwrap()
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
