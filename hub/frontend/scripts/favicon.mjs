// Draws the mark of images/mark.svg as favicon.ico (16, 32 and 48 pixels), for browsers and tools that ask for
// /favicon.ico whatever the page says.

const SAMPLES = 6;
const TILT = (-24 * Math.PI) / 180;
const MOON = [15, 118, 110];
const RING = [217, 119, 6];

/** Colour of the mark at a point of its 48 x 48 drawing; nothing where it is transparent. */
function mark(x, y) {
  const dx = x - 24;
  const dy = y - 24;
  const along = dx * Math.cos(TILT) + dy * Math.sin(TILT);
  const across = dy * Math.cos(TILT) - dx * Math.sin(TILT);
  const radius = Math.hypot(along / 21.5, across / 7);
  const onRing = Math.abs(radius - 1) * (1 / Math.hypot(along / 21.5 ** 2, across / 7 ** 2)) * radius < 1.6;
  const onMoon = Math.hypot(dx, dy) < 13;
  if (onRing && (across > 0 || !onMoon)) return RING;
  return onMoon ? MOON : undefined;
}

/** One image of the icon: a bitmap with its rows from the bottom up, blue first. */
function bitmap(size) {
  const header = Buffer.alloc(40);
  header.writeUInt32LE(40, 0);
  header.writeInt32LE(size, 4);
  header.writeInt32LE(size * 2, 8);
  header.writeUInt16LE(1, 12);
  header.writeUInt16LE(32, 14);
  const pixels = Buffer.alloc(size * size * 4);
  for (let row = 0; row < size; row += 1) {
    for (let column = 0; column < size; column += 1) {
      const sum = [0, 0, 0];
      let covered = 0;
      for (let sample = 0; sample < SAMPLES * SAMPLES; sample += 1) {
        const x = ((column + ((sample % SAMPLES) + 0.5) / SAMPLES) * 48) / size;
        const y = ((row + (Math.floor(sample / SAMPLES) + 0.5) / SAMPLES) * 48) / size;
        const colour = mark(x, y);
        if (!colour) continue;
        covered += 1;
        colour.forEach((part, index) => (sum[index] += part));
      }
      if (covered === 0) continue;
      const at = ((size - 1 - row) * size + column) * 4;
      pixels[at] = Math.round(sum[2] / covered);
      pixels[at + 1] = Math.round(sum[1] / covered);
      pixels[at + 2] = Math.round(sum[0] / covered);
      pixels[at + 3] = Math.round((covered * 255) / (SAMPLES * SAMPLES));
    }
  }
  // The one-bit mask that follows the pixels stays empty: the fourth channel says all.
  const mask = Buffer.alloc(Math.ceil(size / 32) * 4 * size);
  return Buffer.concat([header, pixels, mask]);
}

export function favicon() {
  const sizes = [16, 32, 48];
  const images = sizes.map(bitmap);
  const head = Buffer.alloc(6);
  head.writeUInt16LE(1, 2);
  head.writeUInt16LE(sizes.length, 4);
  let offset = 6 + 16 * sizes.length;
  const entries = images.map((image, index) => {
    const entry = Buffer.alloc(16);
    entry.writeUInt8(sizes[index], 0);
    entry.writeUInt8(sizes[index], 1);
    entry.writeUInt16LE(1, 4);
    entry.writeUInt16LE(32, 6);
    entry.writeUInt32LE(image.length, 8);
    entry.writeUInt32LE(offset, 12);
    offset += image.length;
    return entry;
  });
  return Buffer.concat([head, ...entries, ...images]);
}
