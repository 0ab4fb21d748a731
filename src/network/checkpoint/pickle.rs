//! State dicts and TorchScript modules of PyTorch: a pickle that names tensors, inside a zip file
//! that holds their values.
//!
//! The pickle is read as data: its instructions build a table of values, none of which is ever
//! called. candle has such a reader, too; it copies what is referred to again, so that forty bytes
//! can grow to gigabytes, and it panics on calls without arguments. Here a reference is a number,
//! and no more values come to be than the pickle has bytes.

use std::collections::{HashMap, HashSet};

use candle_core::{DType, Device, Tensor};

use super::archive::{Archive, Problem};

/// Bytes of the largest pickle that is read; the largest network's has some 50,000.
const LARGEST_PICKLE: usize = 1 << 20;
/// Deepest nesting of modules, and bytes of the longest name.
const DEEPEST: usize = 64;
const LONGEST_NAME: usize = 1024;
/// Most values of all tensors together: an end to tensors that share their memory.
const MOST_VALUES: usize = 1 << 27;
/// Most dimensions of a tensor.
const MOST_DIMENSIONS: usize = 8;

/// The tensors of an archive by their names.
///
/// # Errors
/// What is wrong, to follow the file's name.
pub fn tensors(bytes: &[u8]) -> Result<HashMap<String, Tensor>, Problem> {
    let archive = Archive::new(bytes)?;
    let mut pickles = archive.names().filter(|n| is_pickle(n));
    let name = pickles
        .next()
        .ok_or("is a zip file without data.pkl, no PyTorch checkpoint")?;
    if pickles.next().is_some() {
        return Err("has more than one data.pkl".into());
    }
    let folder = name.strip_suffix("data.pkl").unwrap_or_default();
    if let Ok(order) = archive.get(&format!("{folder}byteorder"))
        && order != b"little"
    {
        return Err("was written on a big-endian machine".into());
    }
    let pickle = archive.get(name)?;
    if pickle.len() > LARGEST_PICKLE {
        return Err(format!("has a data.pkl of {} bytes", pickle.len()));
    }
    let mut machine = Machine::default();
    let root = machine.run(pickle)?;
    let mut walk = Walk {
        heap: &machine.heap,
        archive: &archive,
        folder,
        seen: HashSet::new(),
        values: 0,
        tensors: HashMap::new(),
    };
    walk.visit(root, "", 0)?;
    if walk.tensors.is_empty() {
        return Err("names no tensors".into());
    }
    Ok(walk.tensors)
}

fn is_pickle(name: &str) -> bool {
    name == "data.pkl" || name.ends_with("/data.pkl")
}

/// Place of a value in the table.
type Id = usize;

#[derive(Debug)]
enum Value {
    /// What no tensor needs.
    Other,
    Mark,
    Int(i64),
    Text(String),
    /// `module.name`.
    Class(String),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A call that is not made, and what is set on its result.
    Object {
        class: Id,
        arguments: Id,
        state: Option<Id>,
    },
    /// A storage.
    Persistent(Id),
}

/// What runs the instructions.
#[derive(Default)]
struct Machine {
    heap: Vec<Value>,
    stack: Vec<Id>,
    memo: HashMap<u32, Id>,
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Problem> {
        let (taken, rest) = self
            .0
            .split_at_checked(n)
            .ok_or("has a data.pkl that is cut off")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8, Problem> {
        Ok(self.array::<1>()?[0])
    }

    fn u32(&mut self) -> Result<u32, Problem> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn line(&mut self) -> Result<String, Problem> {
        let end = self.0.iter().position(|b| *b == b'\n').unwrap_or(0);
        let line = String::from_utf8_lossy(self.take(end)?).into_owned();
        self.take(1)?;
        Ok(line)
    }

    fn text(&mut self, length: usize) -> Result<Value, Problem> {
        Ok(Value::Text(
            String::from_utf8_lossy(self.take(length)?).into_owned(),
        ))
    }
}

impl Machine {
    /// Runs to the end and returns the result.
    fn run(&mut self, pickle: &[u8]) -> Result<Id, Problem> {
        let mut input = Input(pickle);
        loop {
            let code = input.byte()?;
            if code == b'.' {
                return self.pop();
            }
            if !self.constant(code, &mut input)? && !self.structure(code, &mut input)? {
                return Err(format!(
                    "has a data.pkl with the instruction {code:#04x}, which no checkpoint needs"
                ));
            }
        }
    }

    /// Instructions that push a value of their own; false: it is none.
    fn constant(&mut self, code: u8, input: &mut Input) -> Result<bool, Problem> {
        let value = match code {
            b'K' => Value::Int(input.byte()?.into()),
            b'M' => Value::Int(u16::from_le_bytes(input.array()?).into()),
            b'J' => Value::Int(i32::from_le_bytes(input.array()?).into()),
            0x8a => Value::Int(long(input)?),
            b'X' => {
                let length = input.u32()?;
                input.text(length as usize)?
            }
            0x8c => {
                let length = input.byte()?;
                input.text(length.into())?
            }
            b'c' => Value::Class(format!("{}.{}", input.line()?, input.line()?)),
            b'(' => Value::Mark,
            b')' | b']' => Value::List(Vec::new()),
            b'}' => Value::Dict(Vec::new()),
            b'N' | 0x88 | 0x89 => Value::Other,
            b'G' => {
                input.take(8)?;
                Value::Other
            }
            b'C' | b'U' => {
                let length = input.byte()?;
                input.take(length.into())?;
                Value::Other
            }
            b'B' | b'T' => {
                let length = input.u32()?;
                input.take(length as usize)?;
                Value::Other
            }
            _ => return Ok(false),
        };
        self.push(value);
        Ok(true)
    }

    /// Instructions that work on what is there; false: it is none.
    fn structure(&mut self, code: u8, input: &mut Input) -> Result<bool, Problem> {
        match code {
            0x80 => drop(input.byte()?),
            0x95 => drop(input.take(8)?),
            b'q' => {
                let key = input.byte()?;
                self.remember(key.into())?;
            }
            b'r' => {
                let key = input.u32()?;
                self.remember(key)?;
            }
            0x94 => self.remember(self.memo.len() as u32)?,
            b'h' => {
                let key = input.byte()?;
                self.recall(key.into())?;
            }
            b'j' => {
                let key = input.u32()?;
                self.recall(key)?;
            }
            b'0' => drop(self.pop()?),
            0x93 => self.class_of_texts()?,
            b't' | b'l' => {
                let items = self.pop_to_mark()?;
                self.push(Value::List(items));
            }
            0x85..=0x87 => {
                let first = self.stack.len().checked_sub((code - 0x84).into());
                let items = self.stack.split_off(first.ok_or(EMPTY)?);
                self.push(Value::List(items));
            }
            b'd' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Dict(pairs(&items)));
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(&items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set(&items)?;
            }
            b'R' | 0x81 => self.call()?,
            b'b' => self.build()?,
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Persistent(id));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn push(&mut self, value: Value) {
        self.stack.push(self.heap.len());
        self.heap.push(value);
    }

    fn pop(&mut self) -> Result<Id, Problem> {
        self.stack.pop().ok_or_else(|| EMPTY.into())
    }

    fn top(&mut self) -> Result<&mut Value, Problem> {
        let id = *self.stack.last().ok_or(EMPTY)?;
        Ok(&mut self.heap[id])
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, Problem> {
        let is_mark = |id: &Id| matches!(self.heap[*id], Value::Mark);
        let mark = self.stack.iter().rposition(is_mark).ok_or(EMPTY)?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    fn remember(&mut self, key: u32) -> Result<(), Problem> {
        let id = *self.stack.last().ok_or(EMPTY)?;
        self.memo.insert(key, id);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), Problem> {
        let id = *self
            .memo
            .get(&key)
            .ok_or("has a data.pkl that refers to what it does not hold")?;
        self.stack.push(id);
        Ok(())
    }

    fn class_of_texts(&mut self) -> Result<(), Problem> {
        let (name, module) = (self.pop()?, self.pop()?);
        let (Value::Text(module), Value::Text(name)) = (&self.heap[module], &self.heap[name])
        else {
            return Err("has a data.pkl with a class without a name".into());
        };
        let class = Value::Class(format!("{module}.{name}"));
        self.push(class);
        Ok(())
    }

    fn append(&mut self, items: &[Id]) -> Result<(), Problem> {
        if let Value::List(list) = self.top()? {
            list.extend(items);
        }
        Ok(())
    }

    fn set(&mut self, items: &[Id]) -> Result<(), Problem> {
        if let Value::Dict(dict) = self.top()? {
            dict.extend(pairs(items));
        }
        Ok(())
    }

    fn call(&mut self) -> Result<(), Problem> {
        let (arguments, class) = (self.pop()?, self.pop()?);
        let is_dict =
            matches!(&self.heap[class], Value::Class(c) if c == "collections.OrderedDict");
        self.push(match is_dict {
            true => Value::Dict(Vec::new()),
            false => Value::Object {
                class,
                arguments,
                state: None,
            },
        });
        Ok(())
    }

    /// Sets the state of an object; that of a dict is metadata.
    fn build(&mut self) -> Result<(), Problem> {
        let id = self.pop()?;
        if let Value::Object { state, .. } = self.top()? {
            *state = Some(id);
        }
        Ok(())
    }
}

const EMPTY: &str = "has a data.pkl that takes from an empty stack";

fn pairs(items: &[Id]) -> Vec<(Id, Id)> {
    items.chunks_exact(2).map(|p| (p[0], p[1])).collect()
}

/// A whole number of up to eight bytes, the lowest first.
fn long(input: &mut Input) -> Result<i64, Problem> {
    let length = input.byte()?.into();
    let bytes = input.take(length)?;
    let sign = bytes
        .last()
        .map_or(0, |b| if *b >= 0x80 { 0xff } else { 0 });
    let mut value = [sign; 8];
    if length > value.len() {
        return Err(format!("has a data.pkl with a number of {length} bytes"));
    }
    value[..length].copy_from_slice(bytes);
    Ok(i64::from_le_bytes(value))
}

/// Collects tensors, their names joined from those of the dicts and modules they lie in.
struct Walk<'a> {
    heap: &'a [Value],
    archive: &'a Archive<'a>,
    /// Of the data, with a slash at its end.
    folder: &'a str,
    /// Dicts and modules that were visited: one can refer to itself.
    seen: HashSet<Id>,
    /// Of all tensors so far.
    values: usize,
    tensors: HashMap<String, Tensor>,
}

impl Walk<'_> {
    fn visit(&mut self, id: Id, name: &str, depth: usize) -> Result<(), Problem> {
        if depth > DEEPEST {
            return Err(format!("has dicts nested more than {DEEPEST} deep"));
        }
        if name.len() > LONGEST_NAME {
            return Err(format!("has a name of {} bytes", name.len()));
        }
        match &self.heap[id] {
            Value::Dict(items) if self.seen.insert(id) => {
                for (key, value) in items {
                    if let Value::Text(key) = &self.heap[*key] {
                        let dot = if name.is_empty() { "" } else { "." };
                        self.visit(*value, &format!("{name}{dot}{key}"), depth + 1)?;
                    }
                }
                Ok(())
            }
            Value::Object {
                class,
                arguments,
                state,
            } => self.object(*class, *arguments, *state, name, depth),
            _ => Ok(()),
        }
    }

    fn object(
        &mut self,
        class: Id,
        arguments: Id,
        state: Option<Id>,
        name: &str,
        depth: usize,
    ) -> Result<(), Problem> {
        let Value::Class(class) = &self.heap[class] else {
            return Ok(());
        };
        match class.as_str() {
            "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor" => {
                let tensor = self
                    .tensor(arguments)
                    .map_err(|e| format!("has a tensor {name} that {e}"))?;
                self.tensors.insert(name.into(), tensor);
                Ok(())
            }
            "torch._utils._rebuild_parameter" => match self.list(arguments) {
                Some([data, ..]) => self.visit(*data, name, depth + 1),
                _ => Ok(()),
            },
            _ => state.map_or(Ok(()), |state| self.visit(state, name, depth + 1)),
        }
    }

    fn list(&self, id: Id) -> Option<&[Id]> {
        match &self.heap[id] {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    fn int(&self, id: Id) -> Option<usize> {
        match self.heap[id] {
            Value::Int(value) => usize::try_from(value).ok(),
            _ => None,
        }
    }

    /// Sizes or strides.
    fn ints(&self, id: Id) -> Option<Vec<usize>> {
        let items = self.list(id).filter(|l| l.len() <= MOST_DIMENSIONS)?;
        items.iter().map(|id| self.int(*id)).collect()
    }

    /// From (storage, offset, sizes, strides, ...).
    fn tensor(&mut self, arguments: Id) -> Result<Tensor, Problem> {
        let shape = || {
            let [storage, offset, sizes, strides, ..] = *self.list(arguments)? else {
                return None;
            };
            let layout = Strided {
                offset: self.int(offset)?,
                sizes: self.ints(sizes)?,
                strides: self.ints(strides)?,
            };
            let Value::Persistent(storage) = self.heap[storage] else {
                return None;
            };
            let [_, class, key, ..] = *self.list(storage)? else {
                return None;
            };
            let (Value::Class(class), Value::Text(key)) = (&self.heap[class], &self.heap[key])
            else {
                return None;
            };
            (layout.sizes.len() == layout.strides.len()).then_some((layout, class, key))
        };
        let (layout, class, key) = shape().ok_or("is described in an unknown way")?;
        let dtype = dtype(class).ok_or_else(|| format!("is of {class}"))?;
        let data = self.archive.get(&format!("{}data/{key}", self.folder));
        let data = data.map_err(|e| format!("cannot be read: the file {e}"))?;
        let values = layout.values().filter(|v| *v <= MOST_VALUES - self.values);
        self.values += values.ok_or("is, with those before it, larger than any network")?;
        let bytes = layout
            .gather(data, dtype.size_in_bytes())
            .ok_or("reaches beyond its data")?;
        Tensor::from_raw_buffer(&bytes, dtype, &layout.sizes, &Device::Cpu)
            .map_err(|e| format!("cannot be read: {e}"))
    }
}

fn dtype(class: &str) -> Option<DType> {
    Some(match class.strip_prefix("torch.")? {
        "FloatStorage" => DType::F32,
        "HalfStorage" => DType::F16,
        "BFloat16Storage" => DType::BF16,
        "DoubleStorage" => DType::F64,
        "LongStorage" => DType::I64,
        "ByteStorage" => DType::U8,
        _ => return None,
    })
}

/// How a tensor lies in its storage, in values.
struct Strided {
    offset: usize,
    sizes: Vec<usize>,
    strides: Vec<usize>,
}

impl Strided {
    fn values(&self) -> Option<usize> {
        self.sizes
            .iter()
            .try_fold(1usize, |n, size| n.checked_mul(*size))
    }

    /// The values of `size` bytes each, in order; `None` if one lies outside of `data`. All of them
    /// together are no more than [`MOST_VALUES`].
    fn gather(&self, data: &[u8], size: usize) -> Option<Vec<u8>> {
        let count = self.values()?;
        if count == 0 {
            return Some(Vec::new());
        }
        let mut last = self.sizes.iter().zip(&self.strides);
        let last = last.try_fold(self.offset, |at, (size, stride)| {
            at.checked_add((size - 1).checked_mul(*stride)?)
        })?;
        (last.checked_add(1)?.checked_mul(size)? <= data.len()).then_some(())?;
        if self.is_dense() {
            return Some(data[self.offset * size..][..count * size].to_vec());
        }
        let mut bytes = Vec::with_capacity(count * size);
        for i in 0..count {
            let (mut rest, mut at) = (i, self.offset);
            for (size, stride) in self.sizes.iter().zip(&self.strides).rev() {
                at += rest % size * stride;
                rest /= size;
            }
            bytes.extend_from_slice(&data[at * size..][..size]);
        }
        Some(bytes)
    }

    fn is_dense(&self) -> bool {
        let mut expected = 1;
        let dimensions = self.sizes.iter().zip(&self.strides).rev();
        dimensions.into_iter().all(|(size, stride)| {
            let is_next = *size == 1 || *stride == expected;
            expected *= size;
            is_next
        })
    }
}
