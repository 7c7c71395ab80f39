//! Pictures that carry their own number, as `runtimes/picture_ids.py` draws them: a grid of 4 by 4
//! blocks, of which block k, counted along the rows, is bright where bit k of the number is set.

use jpeg_encoder::{ColorType, Encoder};

use crate::Result;

const GRID: usize = 4;
const DARK: u8 = 16;
const BRIGHT: u8 = 239;
const THRESHOLD: u8 = 114;
const CHANNELS: usize = 3;
const JPEG_QUALITY: u8 = 90;

/// How many bytes an RGB picture has.
pub(crate) fn rgb_bytes(width: u32, height: u32) -> usize {
    width as usize * height as usize * CHANNELS
}

/// Draw a number into packed RGB pixels.
pub(crate) fn draw_id(id: u16, width: u32, height: u32, pixels: &mut [u8]) {
    let row_bytes = width as usize * CHANNELS;
    for (y, row) in pixels.chunks_exact_mut(row_bytes).enumerate() {
        let block_row = y * GRID / height as usize;
        for (x, pixel) in row.chunks_exact_mut(CHANNELS).enumerate() {
            let block = block_row * GRID + x * GRID / width as usize;
            pixel.fill(if id >> block & 1 == 1 { BRIGHT } else { DARK });
        }
    }
}

/// Return the number that packed RGB pixels carry: looks at the middle of each block.
pub(crate) fn read_id(pixels: &[u8], width: u32, height: u32) -> u16 {
    let (width, height) = (width as usize, height as usize);
    let middle = |block: usize, side: usize| (2 * block + 1) * side / (2 * GRID);
    (0..GRID * GRID).fold(0, |id, block| {
        let (x, y) = (middle(block % GRID, width), middle(block / GRID, height));
        let bright = pixels[(y * width + x) * CHANNELS] > THRESHOLD;
        id | u16::from(bright) << block
    })
}

/// Return packed RGB pixels that carry a number.
pub(crate) fn rgb(id: u16, width: u32, height: u32) -> Vec<u8> {
    let mut pixels = vec![0; rgb_bytes(width, height)];
    draw_id(id, width, height, &mut pixels);
    pixels
}

/// Return a JPEG file of such a picture.
pub(crate) fn jpeg(id: u16, width: u32, height: u32) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    let encoder = Encoder::new(&mut file, JPEG_QUALITY);
    encoder.encode(&rgb(id, width, height), width.try_into()?, height.try_into()?, ColorType::Rgb)?;
    Ok(file)
}
