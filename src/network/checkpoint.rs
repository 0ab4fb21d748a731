//! Weights from safetensors files, under the names that the code gives them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::RangeInclusive;
use std::path::Path;

use candle_core::{DType, Device, Tensor};

use crate::error::{Error, Result};
use crate::kernels::conv::Filter;

/// Bytes of the largest file that is read: several times the largest network, and an end to what
/// has none, such as a device.
const LARGEST: u64 = 256 << 20;

/// The tensors of one file, and its path for messages.
pub struct Checkpoint {
    path: String,
    tensors: HashMap<String, Tensor>,
}

impl Checkpoint {
    /// Reads a whole file.
    ///
    /// # Errors
    /// There is no such file, it cannot be read, it is larger than 256 MiB, or it is no complete
    /// safetensors file.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let problem = |problem: String| Error::Weights {
            path: name.clone(),
            problem,
        };
        let metadata =
            std::fs::metadata(path).map_err(|e| problem(format!("cannot be read: {e}")))?;
        if metadata.is_dir() {
            return Err(problem("is a directory".into()));
        }
        let bytes = read(path).map_err(|e| problem(format!("cannot be read: {e}")))?;
        if bytes.len() as u64 > LARGEST {
            let mebibytes = LARGEST >> 20;
            return Err(problem(format!(
                "is larger than {mebibytes} MiB, no network is"
            )));
        }
        Self::parse(&name, &bytes)
    }

    /// From the bytes of a file; `path` is for messages.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn parse(path: &str, bytes: &[u8]) -> Result<Self> {
        let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu).map_err(|e| {
            Error::Weights {
                path: path.into(),
                problem: format!("is not a complete safetensors file: {e}"),
            }
        })?;
        Ok(Self {
            path: path.into(),
            tensors,
        })
    }

    /// The tensor `name` as `f32`, whatever it is in the file.
    ///
    /// # Errors
    /// It is missing, has another shape than `shape`, or values that are not finite.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let Some(tensor) = self.tensors.get(name) else {
            return Err(self.problem(format!("has no tensor {name}, expected one of {shape:?}")));
        };
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

    fn problem(&self, problem: String) -> Error {
        Error::Weights {
            path: self.path.clone(),
            problem,
        }
    }
}

/// The bytes of a file, at most one more than [`LARGEST`].
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(LARGEST + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        let device = &Device::Cpu;
        let tensors = HashMap::from([
            (
                "a.weight",
                Tensor::ones((2, 3, 1, 1), DType::F16, device).unwrap(),
            ),
            ("a.bias", Tensor::zeros(2, DType::F16, device).unwrap()),
            ("wild", Tensor::new(&[f32::NAN], device).unwrap()),
        ]);
        let mut views: Vec<(&str, Tensor)> = tensors.into_iter().collect();
        views.sort_by_key(|(name, _)| *name);
        let path = std::env::temp_dir().join(format!(
            "checkpoint-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        let tensors: HashMap<&str, Tensor> = views.into_iter().collect();
        candle_core::safetensors::save(&tensors, &path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        bytes
    }

    fn message<T>(result: Result<T>) -> String {
        result.err().expect("an error").to_string()
    }

    #[test]
    fn half_floats_become_floats() {
        let checkpoint = Checkpoint::parse("x", &file()).unwrap();
        let weight = checkpoint.tensor("a.weight", &[2, 3, 1, 1]).unwrap();
        assert_eq!(weight.dtype(), DType::F32);
        assert!(checkpoint.filter("a", [2, 3, 1], 1).is_ok());
    }

    #[test]
    fn a_missing_tensor_is_named_with_its_file() {
        let checkpoint = Checkpoint::parse("some/where", &file()).unwrap();
        let message = message(checkpoint.filter("b", [2, 3, 1], 1));
        assert!(
            message.contains("some/where") && message.contains("b.weight"),
            "{message}"
        );
    }

    #[test]
    fn a_wrong_shape_is_told_found_and_expected() {
        let checkpoint = Checkpoint::parse("x", &file()).unwrap();
        let message = message(checkpoint.filter("a", [2, 4, 1], 1));
        assert!(
            message.contains("[2, 3, 1, 1]") && message.contains("[2, 4, 1, 1]"),
            "{message}"
        );
    }

    #[test]
    fn values_that_are_not_finite_are_refused() {
        let checkpoint = Checkpoint::parse("x", &file()).unwrap();
        assert!(message(checkpoint.number("wild")).contains("not finite"));
    }

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        let file = file();
        for length in [0, 4, 8, 20, file.len() / 2, file.len() - 1] {
            let message = message(Checkpoint::parse("cut", &file[..length]));
            assert!(
                message.contains("cut") && message.contains("complete"),
                "{message}"
            );
        }
    }

    #[test]
    fn no_file_and_a_folder_are_named() {
        assert!(message(Checkpoint::open(Path::new("/no/such/file"))).contains("/no/such/file"));
        assert!(message(Checkpoint::open(Path::new("/"))).contains("is a directory"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_without_an_end_is_refused() {
        let message = message(Checkpoint::open(Path::new("/dev/zero")));
        assert!(
            message.contains("/dev/zero") && message.contains("larger"),
            "{message}"
        );
    }

    /// A file of this header and as many zeros.
    fn made(header: &str, data: usize) -> Vec<u8> {
        let length = (header.len() as u64).to_le_bytes();
        [&length, header.as_bytes(), &vec![0; data]].concat()
    }

    #[test]
    fn headers_that_lie_are_refused() {
        let two = |a: &str, b: &str| {
            format!(
                r#"{{"a":{{"dtype":"F32","shape":[2],"data_offsets":{a}}},"b":{{"dtype":"F32","shape":[2],"data_offsets":{b}}}}}"#
            )
        };
        let one = |shape: &str, offsets: &str| {
            format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#)
        };
        assert!(Checkpoint::parse("x", &made(&two("[0,8]", "[8,16]"), 16)).is_ok());
        for (what, header) in [
            ("overlap", two("[0,8]", "[4,12]")),
            ("the same bytes", two("[0,8]", "[0,8]")),
            ("a hole", two("[0,8]", "[12,20]")),
            ("backwards", one("[2]", "[16,8]")),
            ("beyond the end", one("[1000]", "[0,4000]")),
            (
                "a size that overflows",
                one("[4294967296,4294967296,2]", "[0,16]"),
            ),
            ("no objects", "[[[[[[[[".into()),
            ("no header", String::new()),
        ] {
            let message = message(Checkpoint::parse("liar", &made(&header, 16)));
            assert!(message.contains("liar"), "{what}: {message}");
        }
        for length in [u64::MAX, 1 << 40, 99_000_000] {
            let mut file = file();
            file[..8].copy_from_slice(&length.to_le_bytes());
            let message = message(Checkpoint::parse("liar", &file));
            assert!(message.contains("liar"), "header of {length}: {message}");
        }
    }

    #[test]
    fn a_type_that_cannot_be_read_is_named() {
        let header = r#"{"a":{"dtype":"F8_E8M0","shape":[16],"data_offsets":[0,16]}}"#;
        let checkpoint = Checkpoint::parse("odd", &made(header, 16)).unwrap();
        let message = message(checkpoint.tensor("a", &[16]));
        assert!(
            message.contains("odd") && message.contains("tensor a"),
            "{message}"
        );
    }
}
