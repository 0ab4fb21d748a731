//! Folders of ncnn, as the users of rife-ncnn-vulkan have them: `flownet.param` lists the layers,
//! `flownet.bin` holds their weights one after the other, without names.
//!
//! Layers are named by what converted them, and scales may be multiplied into the weights already,
//! so the names of RIFE's weights are told from the order and the shapes of the layers: a head, if
//! there is one, once for each picture; then blocks that begin with two strided convolutions and
//! end with a transposed one.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};

use super::archive::Problem;

/// First line of a `.param`.
const MAGIC: &str = "7767517";
/// Most layers; the largest network has some 400.
const MOST_LAYERS: usize = 1 << 14;
/// Channels of a picture, which the head reads.
const PICTURE: usize = 3;

/// What stands before the weights of a layer: how they are stored.
const TAG_F32: u32 = 0;
const TAG_F32_AGAIN: u32 = 0x0002_c056;
const TAG_F16: u32 = 0x0130_6b47;
const TAG_I8: u32 = 0x000d_4b38;

/// The tensors of a network of RIFE under the names that its authors gave them.
///
/// # Errors
/// What is wrong, to follow the folder's name.
pub fn tensors(param: &str, bin: &[u8]) -> Result<HashMap<String, Tensor>, Problem> {
    let mut reader = Reader { rest: bin };
    let mut names = Names::default();
    for line in layers(param)? {
        names.take(reader.layer(&line)?)?;
    }
    if !reader.rest.is_empty() {
        let surplus = reader.rest.len();
        return Err(format!(
            "has a .bin with {surplus} bytes that no layer of the .param is for"
        ));
    }
    names.finish()
}

/// A line of the `.param`: `type name inputs outputs blobs... key=value...`.
struct Line<'a> {
    kind: &'a str,
    name: &'a str,
    settings: Vec<(i32, &'a str)>,
}

fn layers(param: &str) -> Result<Vec<Line<'_>>, Problem> {
    let mut lines = param.lines();
    if lines.next().map(str::trim) != Some(MAGIC) {
        return Err(format!("has a .param that does not begin with {MAGIC}"));
    }
    let counts = lines.next().unwrap_or_default();
    let count = counts.split_whitespace().next();
    let count = count.and_then(|c| c.parse().ok()).unwrap_or(usize::MAX);
    if count > MOST_LAYERS {
        return Err(format!("has a .param with the counts \"{counts}\""));
    }
    let layers = lines.filter(|l| !l.trim().is_empty());
    let layers: Vec<_> = layers.take(count + 1).map(line).collect::<Result<_, _>>()?;
    match layers.len() == count {
        true => Ok(layers),
        false => Err(format!(
            "has a .param that is cut off or too long: {count} layers are announced"
        )),
    }
}

fn line(text: &str) -> Result<Line<'_>, Problem> {
    let mut words = text.split_whitespace();
    let (Some(kind), Some(name)) = (words.next(), words.next()) else {
        return Err(format!("has a .param with the line \"{text}\""));
    };
    let settings = words.filter_map(|w| {
        let (key, value) = w.split_once('=')?;
        Some((key.parse().ok()?, value))
    });
    Ok(Line {
        kind,
        name,
        settings: settings.collect(),
    })
}

impl Line<'_> {
    /// A whole number, 0 where it is not set.
    fn int(&self, key: i32) -> Result<usize, Problem> {
        let Some((_, value)) = self.settings.iter().find(|(k, _)| *k == key) else {
            return Ok(0);
        };
        value
            .parse()
            .map_err(|_| format!("has a .param whose layer {} says {key}={value}", self.name))
    }
}

/// A layer that has weights.
enum Layer {
    None,
    Convolution(Convolution),
    Deconvolution(Convolution),
    /// Slopes of a PReLU.
    Slopes(Tensor),
    /// Values of their own.
    Data(String, Tensor),
}

struct Convolution {
    weight: Tensor,
    bias: Tensor,
    inputs: usize,
    outputs: usize,
    stride: usize,
}

/// What of the `.bin` has not been read.
struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn layer(&mut self, line: &Line) -> Result<Layer, Problem> {
        Ok(match line.kind {
            "Convolution" => Layer::Convolution(self.convolution(line, false)?),
            "Deconvolution" => Layer::Deconvolution(self.convolution(line, true)?),
            "PReLU" => {
                let slopes = self.floats(line, line.int(0)?)?;
                Layer::Slopes(tensor(slopes, &[line.int(0)?])?)
            }
            "MemoryData" => {
                let sizes = [line.int(0)?, line.int(1)?, line.int(2)?];
                let count = sizes
                    .iter()
                    .try_fold(1usize, |n, s| n.checked_mul(*s.max(&1)));
                let count = count.ok_or_else(|| format!("has a layer {} too large", line.name))?;
                let values = self.floats(line, count)?;
                Layer::Data(line.name.into(), tensor(values, &[1, count, 1, 1])?)
            }
            // All others that RIFE's networks have are without weights; if one is not, the length
            // of the file tells.
            _ => Layer::None,
        })
    }

    fn convolution(&mut self, line: &Line, transposed: bool) -> Result<Convolution, Problem> {
        let (outputs, kernel) = (line.int(0)?, line.int(1)?);
        let (count, stride) = (line.int(6)?, line.int(3)?.max(1));
        let inputs = outputs
            .checked_mul(kernel)
            .and_then(|n| n.checked_mul(kernel))
            .and_then(|n| count.checked_div(n))
            .filter(|n| n * outputs * kernel * kernel == count && *n > 0)
            .ok_or_else(|| {
                format!(
                    "has a layer {} of {count} weights for {outputs} outputs of {kernel}x{kernel}",
                    line.name
                )
            })?;
        let weight = self.weights(line, count)?;
        let bias = match line.int(5)? {
            0 => vec![0.0; outputs],
            _ => self.floats(line, outputs)?,
        };
        // ncnn stores both kinds as [outputs][inputs], PyTorch the transposed ones the other way.
        let weight = tensor(weight, &[outputs, inputs, kernel, kernel])?;
        let weight = match transposed {
            true => weight.transpose(0, 1).and_then(|w| w.contiguous()),
            false => Ok(weight),
        };
        Ok(Convolution {
            weight: weight.map_err(|e| e.to_string())?,
            bias: tensor(bias, &[outputs])?,
            inputs,
            outputs,
            stride,
        })
    }

    /// Weights, with what stands before them.
    fn weights(&mut self, line: &Line, count: usize) -> Result<Vec<f32>, Problem> {
        let tag = self.take(line, 4)?;
        let tag = u32::from_le_bytes([tag[0], tag[1], tag[2], tag[3]]);
        match tag {
            TAG_F32 | TAG_F32_AGAIN => self.floats(line, count),
            TAG_F16 => {
                let bytes = count
                    .checked_mul(2)
                    .and_then(|n| n.checked_next_multiple_of(4));
                let bytes = self.take(line, bytes.unwrap_or(usize::MAX))?;
                let halves = Tensor::from_raw_buffer(
                    &bytes[..2 * count],
                    DType::F16,
                    &[count],
                    &Device::Cpu,
                );
                halves
                    .and_then(|h| h.to_dtype(DType::F32)?.to_vec1())
                    .map_err(|e| e.to_string())
            }
            TAG_I8 => Err(format!(
                "has a layer {} of eight-bit weights, expected floats",
                line.name
            )),
            _ => Err(format!(
                "has a .bin where the weights of layer {} begin with {tag:#010x}",
                line.name
            )),
        }
    }

    fn floats(&mut self, line: &Line, count: usize) -> Result<Vec<f32>, Problem> {
        let bytes = self.take(line, count.saturating_mul(4))?;
        let (floats, _) = bytes.as_chunks::<4>();
        Ok(floats.iter().map(|b| f32::from_le_bytes(*b)).collect())
    }

    fn take(&mut self, line: &Line, n: usize) -> Result<&[u8], Problem> {
        let (taken, rest) = self
            .rest
            .split_at_checked(n)
            .ok_or_else(|| format!("has a .bin that ends within layer {}", line.name))?;
        self.rest = rest;
        Ok(taken)
    }
}

fn tensor(values: Vec<f32>, shape: &[usize]) -> Result<Tensor, Problem> {
    Tensor::from_vec(values, shape, &Device::Cpu).map_err(|e| e.to_string())
}

/// What the convolutions since the last transposed one belong to.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    /// Nothing yet.
    #[default]
    Between,
    Head,
    Block,
}

/// Gives the layers their names as they come.
#[derive(Default)]
struct Names {
    place: Place,
    /// Convolutions of the part that is being read, their slopes besides.
    part: Vec<(Convolution, Option<Tensor>)>,
    blocks: usize,
    tensors: HashMap<String, Tensor>,
}

impl Names {
    fn take(&mut self, layer: Layer) -> Result<(), Problem> {
        match layer {
            Layer::None => Ok(()),
            Layer::Data(name, tensor) => {
                self.tensors.insert(name, tensor);
                Ok(())
            }
            Layer::Slopes(slopes) => {
                if let Some((_, last)) = self.part.last_mut() {
                    *last = Some(slopes);
                }
                Ok(())
            }
            Layer::Convolution(c) => {
                if self.place == Place::Between {
                    let is_head = self.blocks == 0 && c.inputs == PICTURE && c.stride == 2;
                    self.place = if is_head { Place::Head } else { Place::Block };
                }
                self.part.push((c, None));
                Ok(())
            }
            Layer::Deconvolution(c) => {
                let part = std::mem::take(&mut self.part);
                match std::mem::take(&mut self.place) {
                    Place::Head => self.head(part, c),
                    _ => self.block(part, c),
                }
                Ok(())
            }
        }
    }

    fn insert(&mut self, name: &str, c: Convolution) {
        self.tensors.insert(format!("{name}.weight"), c.weight);
        self.tensors.insert(format!("{name}.bias"), c.bias);
    }

    /// That of the second picture is the same again. Every other one of the authors' sequence is an
    /// activation.
    fn head(&mut self, part: Vec<(Convolution, Option<Tensor>)>, last: Convolution) {
        let (step, end) = match part.len() {
            1 => (1, 1),
            n => (2, 2 * n),
        };
        for (i, (c, _)) in part.into_iter().enumerate() {
            self.insert(&format!("encode.{}", step * i), c);
        }
        self.insert(&format!("encode.{end}"), last);
    }

    /// Transposed convolutions of five outputs are those before 4.5, whose blocks have other names.
    fn block(&mut self, part: Vec<(Convolution, Option<Tensor>)>, last: Convolution) {
        let block = format!("block{}", self.blocks);
        self.blocks += 1;
        let is_old = last.outputs == 5;
        for (i, (c, slopes)) in part.into_iter().enumerate() {
            let (name, activation) = match i {
                0 | 1 => (
                    format!("{block}.conv0.{i}.0"),
                    format!("{block}.conv0.{i}.1"),
                ),
                _ => {
                    let layer = format!("{block}.convblock.{}", i - 2);
                    match is_old {
                        true => (format!("{layer}.0"), format!("{layer}.1")),
                        false => (format!("{layer}.conv"), layer),
                    }
                }
            };
            let beta = format!("{activation}.beta");
            if !is_old && i >= 2 && !self.tensors.contains_key(&beta) {
                // multiplied into the weights
                if let Ok(ones) = c
                    .bias
                    .ones_like()
                    .and_then(|b| b.reshape((1, c.outputs, 1, 1)))
                {
                    self.tensors.insert(beta, ones);
                }
            }
            self.insert(&name, c);
            if let Some(slopes) = slopes {
                self.tensors.insert(format!("{activation}.weight"), slopes);
            }
        }
        let name = if is_old { "lastconv" } else { "lastconv.0" };
        self.insert(&format!("{block}.{name}"), last);
    }

    fn finish(self) -> Result<HashMap<String, Tensor>, Problem> {
        if !self.part.is_empty() || self.blocks == 0 {
            return Err("has layers that are no network of RIFE 4".into());
        }
        Ok(self.tensors)
    }
}
