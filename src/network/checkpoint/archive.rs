//! The zip files that PyTorch writes: entries stored as they are, found by the directory at the end.
//!
//! Compressed entries are refused: PyTorch writes none, and without them nothing grows on reading.

use std::collections::HashMap;
use std::ops::Range;

/// Most entries of an archive; the largest network has some hundreds.
const MOST_ENTRIES: u64 = 1 << 16;

/// `PK` and two bytes each, little endian.
const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const END_64_LOCATOR: u32 = 0x0706_4b50;
const DIRECTORY: u32 = 0x0201_4b50;
const LOCAL: u32 = 0x0403_4b50;

/// Bytes of the record at the end, without its comment, and of the longest comment.
const END_SIZE: usize = 22;
const LONGEST_COMMENT: usize = 0xffff;

/// The first bytes of every such file.
pub const MAGIC: &[u8] = b"PK\x03\x04";

/// What went wrong, to follow the file's name.
pub type Problem = String;

/// The entries of a file by their names.
pub struct Archive<'a> {
    bytes: &'a [u8],
    entries: HashMap<String, Entry>,
}

#[derive(Clone)]
struct Entry {
    /// Of the local header.
    at: u64,
    size: u64,
    compressed: bool,
}

impl<'a> Archive<'a> {
    /// Reads the directory.
    ///
    /// # Errors
    /// It is cut off, lies, or has more than 65,536 entries.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Problem> {
        let (count, start) = end(bytes)?;
        if count > MOST_ENTRIES {
            return Err(format!("claims to hold {count} entries"));
        }
        let mut entries = HashMap::new();
        let mut at = start;
        for i in 0..count {
            let (name, entry, next) = directory_entry(bytes, at)
                .ok_or_else(|| format!("has a damaged directory: entry {i} of {count}"))?;
            entries.insert(name, entry);
            at = next;
        }
        Ok(Self { bytes, entries })
    }

    /// The names, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The bytes of an entry.
    ///
    /// # Errors
    /// There is none of this name, it is compressed, or it does not lie inside the file.
    pub fn get(&self, name: &str) -> Result<&'a [u8], Problem> {
        let entry = self
            .entries
            .get(name)
            .ok_or_else(|| format!("has no entry {name}"))?;
        if entry.compressed {
            return Err(format!(
                "has a compressed entry {name}, which PyTorch does not write"
            ));
        }
        content(self.bytes, entry).ok_or_else(|| {
            format!(
                "has an entry {name} of {} bytes that does not lie inside the file",
                entry.size
            )
        })
    }
}

/// Number of entries, and where the directory starts.
fn end(bytes: &[u8]) -> Result<(u64, u64), Problem> {
    let cut = || "is cut off: the directory at its end is missing".to_string();
    let last = bytes.len().checked_sub(END_SIZE).ok_or_else(cut)?;
    let first = last.saturating_sub(LONGEST_COMMENT);
    let at = (first..=last)
        .rev()
        .find(|at| u32_at(bytes, *at as u64) == Some(END))
        .ok_or_else(cut)? as u64;
    let count = u16_at(bytes, at + 10).ok_or_else(cut)?;
    let start = u32_at(bytes, at + 16).ok_or_else(cut)?;
    if count != u16::MAX && start != u32::MAX {
        return Ok((u64::from(count), u64::from(start)));
    }
    let wide = || {
        let locator = at.checked_sub(20)?;
        (u32_at(bytes, locator)? == END_64_LOCATOR).then_some(())?;
        let record = u64_at(bytes, locator + 8)?;
        (u32_at(bytes, record)? == END_64).then_some(())?;
        Some((
            u64_at(bytes, record.checked_add(32)?)?,
            u64_at(bytes, record.checked_add(48)?)?,
        ))
    };
    wide().ok_or_else(|| "has a damaged directory".into())
}

/// Name and place of the entry whose record is at `at`, and where the next record is.
fn directory_entry(bytes: &[u8], at: u64) -> Option<(String, Entry, u64)> {
    (u32_at(bytes, at)? == DIRECTORY).then_some(())?;
    let method = u16_at(bytes, at + 10)?;
    let (packed, size) = (u32_at(bytes, at + 20)?, u32_at(bytes, at + 24)?);
    let [name, extra, comment] = [28, 30, 32].map(|o| u16_at(bytes, at + o).map(u64::from));
    let (name, extra) = (name?, extra?);
    let next = at + 46 + name + extra + comment?;
    let local = u32_at(bytes, at + 42)?;
    let extra = slice(bytes, at + 46 + name..at + 46 + name + extra)?;
    let name = String::from_utf8_lossy(slice(bytes, at + 46..at + 46 + name)?).into_owned();
    let mut wide = Wide::find(extra);
    let size = wide.or_next(size)?;
    let packed = wide.or_next(packed)?;
    let entry = Entry {
        at: wide.or_next(local)?,
        size,
        compressed: method != 0 || packed != size,
    };
    Some((name, entry, next))
}

/// The 64-bit values of an entry: they stand in its extra field for those that are all ones.
struct Wide<'a>(&'a [u8]);

impl<'a> Wide<'a> {
    const ID: u16 = 1;

    fn find(mut extra: &'a [u8]) -> Self {
        while let (Some(id), Some(size)) = (u16_at(extra, 0), u16_at(extra, 2)) {
            let Some(content) = slice(extra, 4..4 + u64::from(size)) else {
                break;
            };
            if id == Self::ID {
                return Self(content);
            }
            extra = &extra[4 + content.len()..];
        }
        Self(&[])
    }

    fn or_next(&mut self, value: u32) -> Option<u64> {
        if value != u32::MAX {
            return Some(value.into());
        }
        let (value, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*value))
    }
}

/// The local header has a name and an extra field of its own lengths.
fn content<'a>(bytes: &'a [u8], entry: &Entry) -> Option<&'a [u8]> {
    (u32_at(bytes, entry.at)? == LOCAL).then_some(())?;
    let name = u16_at(bytes, entry.at + 26)?;
    let extra = u16_at(bytes, entry.at + 28)?;
    let start = entry.at + 30 + u64::from(name) + u64::from(extra);
    slice(bytes, start..start.checked_add(entry.size)?)
}

fn slice(bytes: &[u8], range: Range<u64>) -> Option<&[u8]> {
    bytes.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
}

fn array<const N: usize>(bytes: &[u8], at: u64) -> Option<[u8; N]> {
    let end = at.checked_add(N as u64)?;
    slice(bytes, at..end)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: u64) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: u64) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: u64) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}
