// Pictures on canvases: photographs, and signed gradients that read on a light and on a dark page.
const POSITIVE = [178, 24, 43], NEGATIVE = [33, 102, 172]; // red and blue that colour-blind readers can tell apart
const QUANTILE = 0.999; // of |value| in a picture: what is drawn at full colour

/** The 99.9th percentile of |values|, between neighbours as NumPy has it; the largest where that is zero. */
export function scaleOf(values) {
  const sizes = Float64Array.from(values, Math.abs).sort(), place = QUANTILE * (sizes.length - 1), low = Math.floor(place);
  const between = sizes[low] + (place - low) * ((sizes[low + 1] ?? sizes[low]) - sizes[low]);
  return between || sizes.at(-1);
}

/** The mean over channels of (C, H, W) values. */
export function grey(values, channels) {
  const pixels = values.length / channels, out = new Float64Array(pixels);
  for (let c = 0; c < channels; c++) for (let i = 0; i < pixels; i++) out[i] += values[c * pixels + i] / channels;
  return out;
}

/** RGBA bytes: red above zero, blue below, opacity |value|/scale, so that zero is the page itself; null for all zero. */
export function signedPixels(values, channels) {
  const own = grey(values, channels), scale = scaleOf(own);
  if (!scale) return null;
  const out = new Uint8ClampedArray(4 * own.length);
  own.forEach((value, i) => {
    const share = Math.max(-1, Math.min(1, value / scale));
    out.set(share > 0 ? POSITIVE : NEGATIVE, 4 * i);
    out[4 * i + 3] = Math.round(255 * Math.abs(share));
  });
  return out;
}

/** RGBA bytes of three channels, where mid-grey is zero; null for all zero. */
export function colouredPixels(values) {
  const pixels = values.length / 3, scale = scaleOf(values);
  if (!scale) return null;
  const out = new Uint8ClampedArray(4 * pixels).fill(255);
  for (let i = 0; i < pixels; i++) for (let c = 0; c < 3; c++) out[4 * i + c] = Math.round(127.5 + 127.5 * Math.max(-1, Math.min(1, values[c * pixels + i] / scale)));
  return out;
}

/** RGBA bytes of an image in bytes; other channel counts than 3 are averaged to grey. */
export function photoPixels(values, channels) {
  const pixels = values.length / channels, own = channels === 3 ? values : grey(values, channels), out = new Uint8ClampedArray(4 * pixels).fill(255);
  for (let i = 0; i < pixels; i++) for (let c = 0; c < 3; c++) out[4 * i + c] = channels === 3 ? own[c * pixels + i] : Math.round(own[i]);
  return out;
}

/** Put RGBA bytes on a canvas of that many pixels; null says that there is nothing to show. */
export function paint(canvas, pixels, [height, width]) {
  canvas.width = width;
  canvas.height = height;
  canvas.classList.toggle("nothing", pixels === null);
  const context = canvas.getContext("2d");
  if (pixels) context.putImageData(new ImageData(pixels, width, height), 0, 0);
}
