//! How the bytes of a picture are to be read.

/// How the bytes of a picture are to be read: 8 bits a channel, rows packed, top row first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PixelFormat {
    /// width × height × 3 bytes.
    Rgb = 0,
    /// width × height × 3 bytes.
    Bgr = 1,
    /// width × height bytes.
    Gray = 2,
    /// width × height × 4 bytes; alpha is ignored.
    Rgba = 3,
    /// width × height × 4 bytes; alpha is ignored.
    Bgra = 4,
    /// width × height × 3 / 2 bytes: Y, then interleaved U and V; limited range; even width and height.
    Nv12 = 5,
    /// width × height × 3 / 2 bytes: Y, then U, then V; limited range; even width and height.
    I420 = 6,
    /// A JPEG, PNG or WebP file; width and height are not read and may be 0.
    Encoded = 0x7F,
}

impl PixelFormat {
    /// Every format, in the order of their numbers.
    pub const ALL: [PixelFormat; 8] = [
        PixelFormat::Rgb,
        PixelFormat::Bgr,
        PixelFormat::Gray,
        PixelFormat::Rgba,
        PixelFormat::Bgra,
        PixelFormat::Nv12,
        PixelFormat::I420,
        PixelFormat::Encoded,
    ];

    /// The byte on the wire.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The format of a byte on the wire, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.number() == number)
    }

    /// The bytes of a picture of this size; `None` for [`PixelFormat::Encoded`], which has no fixed one, and
    /// where the number does not fit.
    ///
    /// ```
    /// # use inferpipe::PixelFormat;
    /// assert_eq!(PixelFormat::Rgb.bytes(1920, 1080), Some(6_220_800));
    /// assert_eq!(PixelFormat::Encoded.bytes(1920, 1080), None);
    /// ```
    pub fn bytes(self, width: u32, height: u32) -> Option<usize> {
        let pixels = (width as usize).checked_mul(height as usize)?;
        match self {
            PixelFormat::Gray => Some(pixels),
            PixelFormat::Rgb | PixelFormat::Bgr => pixels.checked_mul(3),
            PixelFormat::Rgba | PixelFormat::Bgra => pixels.checked_mul(4),
            PixelFormat::Nv12 | PixelFormat::I420 => pixels.checked_mul(3).map(|bytes| bytes / 2),
            PixelFormat::Encoded => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PixelFormat;

    #[test]
    fn a_format_is_found_by_its_number() {
        for format in PixelFormat::ALL {
            assert_eq!(PixelFormat::from_number(format.number()), Some(format));
        }
        assert_eq!(PixelFormat::from_number(9), None);
    }

    #[test]
    fn sizes_are_those_of_the_protocol() {
        let sizes = PixelFormat::ALL.map(|format| format.bytes(4, 2));
        assert_eq!(sizes, [Some(24), Some(24), Some(8), Some(32), Some(32), Some(12), Some(12), None]);
    }
}
