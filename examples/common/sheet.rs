//! An RGB picture to draw on, written as PNG.

use std::path::Path;

use super::font;

/// Rows of pixels that a line of text takes.
pub const LINE: usize = 2 * font::ROWS;

/// Pixels row after row, R, G, B each.
pub struct Sheet {
    width: usize,
    height: usize,
    data: Vec<u8>,
}

impl Sheet {
    /// Dark grey; sizes in pixels.
    pub fn new(width: usize, height: usize) -> Self {
        let data = vec![24; width * height * 3];
        Self {
            width,
            height,
            data,
        }
    }

    /// Colours a pixel; outside, nothing happens.
    pub fn put(&mut self, x: usize, y: usize, rgb: [u8; 3]) {
        if x < self.width && y < self.height {
            let at = (y * self.width + x) * 3;
            self.data[at..at + 3].copy_from_slice(&rgb);
        }
    }

    /// Letters of twice the font's size from a corner on.
    pub fn write(&mut self, text: &str, x: usize, y: usize) {
        for row in 0..LINE {
            for column in 0..text_width(text) {
                if font::point(text, column as i32 / 2, row as i32 / 2) {
                    self.put(x + column, y + row, [235; 3]);
                }
            }
        }
    }

    /// Writes the file.
    ///
    /// # Errors
    /// It cannot be written; the path is named.
    pub fn save(&self, path: &Path) -> Result<(), String> {
        self.encode(path)
            .map_err(|error| format!("{}: {error}", path.display()))
    }

    fn encode(&self, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let file = std::io::BufWriter::new(std::fs::File::create(path)?);
        let mut encoder = png::Encoder::new(file, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.write_header()?.write_image_data(&self.data)?;
        Ok(())
    }
}

/// Pixels that a line of text is wide.
pub fn text_width(text: &str) -> usize {
    2 * font::ADVANCE * text.len()
}
