//! Weights from the files that people have, under the names that their authors gave them.
//!
//! | file | read by |
//! |---|---|
//! | safetensors | candle |
//! | PyTorch zip (`.pkl`, `.pth`, `.pt`): state dicts, TorchScript modules | `pickle` |
//! | folder of ncnn: `.param` and `.bin` | `ncnn` |
//!
//! Whatever a file holds, it becomes tensors or an error that names the file. Memory is at most
//! twice `LARGEST` and what the file itself takes.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};

use crate::error::{Error, Result};
use crate::kernels::conv::Filter;

mod archive;
mod ncnn;
mod pickle;
#[cfg(test)]
mod tests;

/// Bytes of the largest file that is read: twice the largest network, and an end to what has none,
/// such as a device.
const LARGEST: u64 = 512 << 20;

/// What PyTorch before 1.6 wrote begins with: a pickle of a number that stands for nothing else.
const BEFORE_ZIP: &[u8] = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.";

/// What a network's weights may be wrapped in; the first [`STATES`] stand next to what trained it.
const STATES: usize = 2;
const WRAPPERS: [&str; 5] = ["state_dict.", "model.", "params.", "network.", "module."];

/// The tensors of one file, and its path for messages.
pub struct Checkpoint {
    path: String,
    tensors: HashMap<String, Tensor>,
    /// Names of tensors that were asked for.
    used: RefCell<BTreeSet<String>>,
}

impl Checkpoint {
    /// Reads a file, or a folder of ncnn.
    ///
    /// # Errors
    /// There is no such file, it cannot be read, is larger than 512 MiB, or is no complete file of
    /// a known kind.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let problem = |problem: String| Error::Weights {
            path: name.clone(),
            problem,
        };
        let metadata =
            std::fs::metadata(path).map_err(|e| problem(format!("cannot be read: {e}")))?;
        if let Some(stem) = ncnn_stem(path, metadata.is_dir()).map_err(&problem)? {
            return Self::open_ncnn(&name, &stem);
        }
        Self::parse(&name, &read(path).map_err(&problem)?)
    }

    /// From the bytes of a file; `path` is for messages.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn parse(path: &str, bytes: &[u8]) -> Result<Self> {
        let tensors = if bytes.starts_with(archive::MAGIC) {
            pickle::tensors(bytes)
        } else if bytes.starts_with(BEFORE_ZIP) {
            Err("is of PyTorch before 1.6; load and save it with a newer one".into())
        } else {
            candle_core::safetensors::load_buffer(bytes, &Device::Cpu)
                .map_err(|e| format!("is not a complete safetensors file: {e}"))
        };
        let tensors = tensors.map_err(|problem| Error::Weights {
            path: path.into(),
            problem,
        })?;
        Ok(Self::of(path, tensors))
    }

    /// From the two files of an ncnn folder; `path` is for messages.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn parse_ncnn(path: &str, param: &str, bin: &[u8]) -> Result<Self> {
        let tensors = ncnn::tensors(param, bin).map_err(|problem| Error::Weights {
            path: path.into(),
            problem,
        })?;
        Ok(Self::of(path, tensors))
    }

    /// From tensors that are there already; `path` is for messages.
    pub fn of(path: &str, tensors: HashMap<String, Tensor>) -> Self {
        Self {
            path: path.into(),
            tensors: unwrapped(tensors),
            used: RefCell::default(),
        }
    }

    fn open_ncnn(name: &str, stem: &Path) -> Result<Self> {
        let file = |extension: &str| {
            let path = stem.with_extension(extension);
            read(&path).map_err(|e| Error::Weights {
                path: name.into(),
                problem: format!("needs both a .param and a .bin: {} {e}", path.display()),
            })
        };
        let (param, bin) = (file("param")?, file("bin")?);
        Self::parse_ncnn(name, &String::from_utf8_lossy(&param), &bin)
    }

    /// The shape of the tensor `name`, if there is one.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(Tensor::dims)
    }

    /// All names, in order.
    pub fn names(&self) -> BTreeSet<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    /// The path, for messages.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// How many values the tensors have that were asked for.
    pub fn used_values(&self) -> usize {
        let used = self.used.borrow();
        let tensors = used.iter().filter_map(|name| self.tensors.get(name));
        tensors.map(Tensor::elem_count).sum()
    }

    /// Fails if there are tensors that were never asked for, but for those whose names begin with
    /// one of `ignored`; `family` is what the others are part of.
    ///
    /// # Errors
    /// As said; the first one is named.
    pub fn expect_no_more(&self, family: &str, ignored: &[&str]) -> Result<()> {
        let used = self.used.borrow();
        let surplus = self
            .names()
            .into_iter()
            .find(|name| !used.contains(*name) && !ignored.iter().any(|i| name.starts_with(i)));
        match surplus {
            Some(name) => Err(self.problem(format!("has a tensor {name}, which {family} lacks"))),
            None => Ok(()),
        }
    }

    /// The tensor `name` as `f32`, whatever it is in the file.
    ///
    /// # Errors
    /// It is missing, has another shape than `shape`, or values that are not finite.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let Some(tensor) = self.tensors.get(name) else {
            return Err(self.problem(format!("has no tensor {name}, expected one of {shape:?}")));
        };
        self.used.borrow_mut().insert(name.into());
        if tensor.dims() != shape {
            let found = tensor.dims();
            return Err(self.problem(format!("tensor {name} is {found:?}, expected {shape:?}")));
        }
        if !tensor.dtype().is_float() {
            let found = tensor.dtype();
            return Err(self.problem(format!("tensor {name} is of {found:?}, expected a float")));
        }
        let tensor = tensor
            .to_dtype(DType::F32)
            .map_err(|e| self.problem(format!("tensor {name} cannot be read: {e}")))?;
        let values: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
        if !values.iter().all(|v| v.is_finite()) {
            return Err(self.problem(format!("tensor {name} has values that are not finite")));
        }
        Ok(tensor)
    }

    /// The first size of the tensor `name`, the outputs of a convolution.
    ///
    /// # Errors
    /// It is missing, or its first size is outside of `range`.
    pub fn outputs(&self, name: &str, range: RangeInclusive<usize>) -> Result<usize> {
        let Some(tensor) = self.tensors.get(name) else {
            return Err(self.problem(format!("has no tensor {name}")));
        };
        match tensor.dims().first() {
            Some(outputs) if range.contains(outputs) => Ok(*outputs),
            _ => {
                let (found, least, most) = (tensor.dims(), range.start(), range.end());
                Err(self.problem(format!(
                    "tensor {name} is {found:?}, expected {least} to {most} outputs"
                )))
            }
        }
    }

    /// The single number `name`, a tensor of `[1]`.
    ///
    /// # Errors
    /// As [`Checkpoint::tensor`].
    pub fn number(&self, name: &str) -> Result<f32> {
        Ok(self.tensor(name, &[1])?.get(0)?.to_scalar()?)
    }

    /// The single whole number `name`, a tensor of `[1]`.
    ///
    /// # Errors
    /// As [`Checkpoint::tensor`], and a number that is not whole or outside of `range`.
    pub fn index(&self, name: &str, range: RangeInclusive<usize>) -> Result<usize> {
        let number = self.number(name)?;
        let whole = range.clone().find(|&i| i as f32 == number);
        whole.ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            self.problem(format!("{name} is {number}, expected {least} to {most}"))
        })
    }

    /// Weight and bias of the convolution `name`.
    ///
    /// # Errors
    /// As [`Checkpoint::tensor`].
    pub fn weight_and_bias(
        &self,
        name: &str,
        [outputs, inputs, kernel]: [usize; 3],
    ) -> Result<(Tensor, Tensor)> {
        let shape = [outputs, inputs, kernel, kernel];
        let weight = self.tensor(&format!("{name}.weight"), &shape)?;
        Ok((weight, self.tensor(&format!("{name}.bias"), &[outputs])?))
    }

    /// The convolution `name` of `[outputs, inputs, kernel]`.
    ///
    /// # Errors
    /// As [`Checkpoint::tensor`].
    pub fn filter(&self, name: &str, shape: [usize; 3], stride: usize) -> Result<Filter> {
        let (weight, bias) = self.weight_and_bias(name, shape)?;
        Ok(Filter::new(&weight, &bias, stride)?)
    }

    /// An error about this file.
    pub fn problem(&self, problem: String) -> Error {
        Error::Weights {
            path: self.path.clone(),
            problem,
        }
    }
}

/// The bytes of a file; the error is to follow its name.
fn read(path: &Path) -> std::result::Result<Vec<u8>, String> {
    let unreadable = |e: io::Error| format!("cannot be read: {e}");
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    let mut file = file.take(LARGEST + 1);
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST {
        let mebibytes = LARGEST >> 20;
        return Err(format!("is larger than {mebibytes} MiB, no network is"));
    }
    Ok(bytes)
}

/// The path of an ncnn network without its extension, if that is what `path` means: one of its two
/// files, or a folder with one `.param`.
fn ncnn_stem(path: &Path, is_folder: bool) -> std::result::Result<Option<PathBuf>, String> {
    let is = |path: &Path, extension: &str| path.extension().is_some_and(|e| e == extension);
    if !is_folder {
        let is_ncnn = is(path, "param") || is(path, "bin");
        return Ok(is_ncnn.then(|| path.to_path_buf()));
    }
    let entries = std::fs::read_dir(path).map_err(|e| format!("cannot be read: {e}"))?;
    let mut params: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| is(path, "param"))
        .collect();
    match (params.pop(), params.pop()) {
        (Some(param), None) => Ok(Some(param)),
        (None, _) => Err("is a directory without a .param of ncnn".into()),
        _ => Err("is a directory with several .param of ncnn; name one".into()),
    }
}

/// The same tensors without what all their names begin with; next to a state dict, only it counts, and
/// not what trained it.
fn unwrapped(mut tensors: HashMap<String, Tensor>) -> HashMap<String, Tensor> {
    let is_there = |w: &&str| tensors.keys().any(|n| n.starts_with(w));
    if let Some(wrapper) = WRAPPERS.into_iter().take(STATES).find(is_there) {
        tensors.retain(|n, _| n.starts_with(wrapper));
    }
    let common = |tensors: &HashMap<String, Tensor>| {
        let is_common = |w: &&str| tensors.keys().all(|n| n.starts_with(w));
        WRAPPERS.into_iter().find(is_common)
    };
    while let Some(wrapper) = common(&tensors).filter(|_| !tensors.is_empty()) {
        let bare = |(n, t): (String, Tensor)| (n[wrapper.len()..].to_string(), t);
        tensors = tensors.into_iter().map(bare).collect();
    }
    tensors
}
