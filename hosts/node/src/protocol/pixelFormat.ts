// Pixel formats by name, their bytes on the wire, and how many bytes a picture of each takes.

/**
 * What the bytes of a raw picture are: 8 bits a channel, rows packed, top row first; `encoded` is a JPEG, PNG
 * or WebP file.
 */
export type PixelFormat = "rgb" | "bgr" | "gray" | "rgba" | "bgra" | "nv12" | "i420" | "encoded";

interface FormatRow {
  readonly code: number;
  /** Bytes of a picture in halves of a pixel, so that 4:2:0 is a whole number; 0: any number of bytes. */
  readonly halvesPerPixel: number;
}

const FORMATS: Readonly<Record<PixelFormat, FormatRow>> = {
  rgb: { code: 0, halvesPerPixel: 6 },
  bgr: { code: 1, halvesPerPixel: 6 },
  gray: { code: 2, halvesPerPixel: 2 },
  rgba: { code: 3, halvesPerPixel: 8 },
  bgra: { code: 4, halvesPerPixel: 8 },
  nv12: { code: 5, halvesPerPixel: 3 },
  i420: { code: 6, halvesPerPixel: 3 },
  encoded: { code: 0x7f, halvesPerPixel: 0 },
};

/** The names of all pixel formats. */
export const PIXEL_FORMATS: readonly PixelFormat[] = Object.keys(FORMATS) as PixelFormat[];

/** The byte that stands for a format on the wire; undefined for what is no format's name. */
export function pixelFormatCode(format: PixelFormat): number | undefined {
  return Object.hasOwn(FORMATS, format) ? FORMATS[format].code : undefined;
}

/** How many bytes the pixels of a picture take; undefined for `encoded`, whose file says it. */
export function pixelBytes(width: number, height: number, format: PixelFormat): number | undefined {
  const { halvesPerPixel } = FORMATS[format];
  return halvesPerPixel === 0 ? undefined : (width * height * halvesPerPixel) / 2;
}
