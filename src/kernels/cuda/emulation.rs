//! Runs the kernels' sources on the host, for the tests: no card is needed to see that they compute what they should.
//!
//! `g++` compiles a `cuda.cu` with `host.hpp` into a library beside the test's binary, once for each text of the sources.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CString, c_char, c_int, c_void};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use candle_core::{DType, Tensor};

use super::{Card, DeviceRaster, Features, Half, Launch, Span};
use crate::kernels::Precision;
use crate::kernels::conv::Filter;
use crate::kernels::conv::narrow::{DeviceFilter, weights};
use crate::kernels::raster::{Element, Source, write_of};
use crate::kernels::testing::Random;

unsafe extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

const RTLD_NOW: c_int = 2;

/// `emulate` of host.hpp.
type Emulate =
    unsafe extern "C" fn(*const c_char, *const u32, *const u32, *mut *mut c_void) -> c_int;

/// Runs launches one after the other. What one only reads, it may not have written.
pub fn run(launches: impl IntoIterator<Item = Launch>) {
    for mut launch in launches {
        let read = Read::of(&launch);
        let emulate = module(launch.module);
        let name = CString::new(launch.function).unwrap();
        let mut arguments = launch.arguments();
        let (grid, block) = (launch.grid.as_ptr(), launch.block.as_ptr());
        // SAFETY: grid and block are three numbers, the arguments those that the launch has for this kernel.
        let found = unsafe { emulate(name.as_ptr(), grid, block, arguments.as_mut_ptr()) };
        assert!(found != 0, "{} has no {}", launch.module, launch.function);
        read.check(&launch);
    }
}

/// What a launch says that it only reads, as it was before.
struct Read(Vec<(u64, Vec<u8>)>);

impl Read {
    fn of(launch: &Launch) -> Self {
        let (written, read): (Vec<&Span>, Vec<&Span>) =
            launch.spans().iter().partition(|s| s.is_written());
        // where both are told of, it is written
        let read = read.into_iter().flat_map(|span| {
            let pieces = vec![span.bounds()];
            written.iter().fold(pieces, |pieces, written| {
                let (from, to) = written.bounds();
                let outside = |(a, b): (u64, u64)| [(a, b.min(from)), (a.max(to), b)];
                pieces
                    .into_iter()
                    .flat_map(outside)
                    .filter(|(a, b)| a < b)
                    .collect()
            })
        });
        Self(read.map(|(from, to)| (from, bytes(from, to))).collect())
    }

    fn check(&self, launch: &Launch) {
        for (from, before) in &self.0 {
            let now = bytes(*from, from + before.len() as u64);
            assert!(
                now == *before,
                "{} has written what it reads",
                launch.function
            );
        }
    }
}

fn bytes(from: u64, to: u64) -> Vec<u8> {
    // SAFETY: it is of a tensor that the launch reaches.
    unsafe { std::slice::from_raw_parts(from as *const u8, (to - from) as usize) }.to_vec()
}

/// A tensor on the CPU as if it were on the device, to be read.
pub fn input<T: Element>(tensor: &Tensor) -> DeviceRaster<T> {
    let source = Source::lock(tensor);
    let first = source.raster_of::<T>().unwrap().data().as_ptr();
    placed(first as u64, tensor)
}

/// The same, to be written. Whoever runs a launch that writes to it must not look at the tensor meanwhile.
pub fn output<T: Element>(tensor: &Tensor) -> DeviceRaster<T> {
    let address = Mutex::new(0);
    write_of::<T>("device", tensor, |mut raster| {
        *address.lock().unwrap() = raster.data_mut().as_mut_ptr() as u64;
        Ok(())
    })
    .unwrap();
    placed(address.into_inner().unwrap(), tensor)
}

fn placed<T: Element>(first: u64, tensor: &Tensor) -> DeviceRaster<T> {
    let layout = tensor.layout();
    let before = (layout.start_offset() * size_of::<T>()) as u64;
    DeviceRaster::new(first - before, layout).unwrap()
}

/// The host's memory as that of a card.
#[derive(Default)]
pub struct Host {
    weights: RefCell<Vec<Vec<u32>>>,
}

impl Card for Host {
    fn raster(&self, tensor: &Tensor) -> candle_core::Result<DeviceRaster> {
        Ok(output(tensor))
    }

    fn bytes(&self, tensor: &Tensor) -> candle_core::Result<DeviceRaster<u8>> {
        Ok(output(tensor))
    }

    fn words(&self, tensor: &Tensor) -> candle_core::Result<DeviceRaster<u32>> {
        Ok(output(tensor))
    }

    fn halves(&self, tensor: &Tensor) -> candle_core::Result<DeviceRaster<Half>> {
        Ok(output(tensor))
    }

    fn filter(&self, filter: &Filter, products: Precision) -> candle_core::Result<DeviceFilter> {
        let weights = weights(filter, products);
        let address = weights.as_ptr() as u64;
        self.weights.borrow_mut().push(weights);
        DeviceFilter::new(filter, products, address)
    }
}

/// A tensor rounded to 16 bits, and what its values are in 32.
pub fn halves(tensor: &Tensor) -> [Tensor; 2] {
    let halves = tensor.to_dtype(DType::F16).unwrap();
    let rounded = halves.to_dtype(DType::F32).unwrap();
    [halves, rounded]
}

/// Random features of 16 bits, and the same values in 32, behind so many other channels.
pub fn features(
    random: &mut Random,
    (h, w): (usize, usize),
    channels: usize,
    gap: usize,
) -> [Tensor; 2] {
    let both = halves(&random.dense(&[h, w, channels + gap], 1.0));
    both.map(|t| t.narrow(2, gap, channels).unwrap())
}

/// As if they were on the device, to be read.
pub fn on_device(features: &Tensor) -> Features {
    match features.dtype() {
        DType::F16 => Features::F16(input(features)),
        _ => Features::F32(input(features)),
    }
}

/// What runs the kernels of a module.
fn module(name: &'static str) -> Emulate {
    static LOADED: Mutex<Option<HashMap<&str, Emulate>>> = Mutex::new(None);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let loaded = loaded.get_or_insert_default();
    *loaded.entry(name).or_insert_with(|| load(&compiled(name)))
}

fn load(library: &Path) -> Emulate {
    let path = CString::new(library.to_str().unwrap()).unwrap();
    // SAFETY: the library was made from our own sources, whose initialisers only fill a map; `emulate` has that type.
    unsafe {
        let library = dlopen(path.as_ptr(), RTLD_NOW);
        assert!(!library.is_null(), "{path:?} cannot be loaded");
        let emulate = dlsym(library, c"emulate".as_ptr());
        assert!(!emulate.is_null(), "{path:?} has no emulate");
        std::mem::transmute::<*mut c_void, Emulate>(emulate)
    }
}

/// The library of a module, made unless it is there.
fn compiled(module: &str) -> PathBuf {
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kernels");
    let source = kernels.join(module).join("cuda.cu");
    let tests = std::env::current_exe().unwrap();
    let folder = tests.parent().unwrap().join("cuda-emulation");
    std::fs::create_dir_all(&folder).unwrap();
    let library = folder.join(format!("{module}-{:016x}.so", version(&kernels, &source)));
    if !library.exists() {
        // Others may make it at the same time; the last one to finish wins.
        let made = folder.join(format!("{module}-{}.tmp", std::process::id()));
        let mut compiler = Command::new("g++");
        compiler
            .args(["-std=c++17", "-O2", "-march=native", "-ffp-contract=off"])
            .args([
                "-shared",
                "-fPIC",
                "-Wall",
                "-Werror",
                "-Wno-unknown-pragmas",
            ])
            .args(["-Wno-unused-function", "-Wno-unused-variable"])
            // each with shared memory of its own, whatever their functions are called: they run side by side
            .arg("-fno-gnu-unique")
            // GCC 12 puts variables of 16 bytes there where they are not aligned
            .arg("-mno-red-zone")
            // what C++ leaves undefined and a card may do otherwise ends the test
            .args([
                "-fsanitize=undefined,float-cast-overflow",
                "-fno-sanitize=float-divide-by-zero",
                "-fsanitize-undefined-trap-on-error",
            ])
            .args(["-x", "c++"])
            .arg(&source)
            .arg("-o")
            .arg(&made);
        let run = compiler.output();
        let run = run.unwrap_or_else(|e| panic!("g++ ({e}); install build-essential"));
        let errors = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{}: {errors}", source.display());
        std::fs::rename(&made, &library).unwrap();
    }
    library
}

/// Of the module's source, of all headers and of how they are compiled.
fn version(kernels: &Path, source: &Path) -> u64 {
    let headers = |folder: PathBuf| {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().path())
    };
    let folders = std::fs::read_dir(kernels).unwrap();
    let folders = folders.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = folders.filter(|f| f.is_dir()).flat_map(headers).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "cuh" || e == "hpp"));
    files.push(source.to_path_buf());
    files.sort();
    let mut hasher = DefaultHasher::new();
    include_str!("emulation.rs").hash(&mut hasher);
    for file in files {
        std::fs::read(&file).unwrap().hash(&mut hasher);
    }
    hasher.finish()
}
