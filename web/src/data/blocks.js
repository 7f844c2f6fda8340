// Blocks of numbers and pictures: base64 of gzip of bytes, decoded when they are first looked at.
const bytesOf = text => Uint8Array.from(atob(text.trim()), letter => letter.charCodeAt(0));

async function inflated(text) {
  const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Numbers whose bytes lie in four planes: all first bytes, all second ones, and so on. */
export function unshuffled(bytes) {
  const count = bytes.length / 4, whole = new Uint8Array(bytes.length);
  for (let plane = 0; plane < 4; plane++)
    for (let i = 0; i < count; i++) whole[4 * i + plane] = bytes[plane * count + i];
  return new Float32Array(whole.buffer);
}

/** {shape, scales, values}: a head's length in four bytes, the head as JSON, then a byte for each value. */
export function pictures(bytes, signed) {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  const rest = bytes.slice(4 + length);
  return {...head, values: signed ? new Int8Array(rest.buffer) : rest};
}

/** The blocks of a page or of a file, each decoded once. */
export class Blocks {
  #text;
  #made = new Map();
  decoded = 0;

  /** @param text gives the base64 text of a name, or null. */
  constructor(text) {
    this.#text = text;
  }

  has(name) {
    return Boolean(name) && this.#text(name) !== null;
  }

  #get(name, convert) {
    if (!this.#made.has(name)) {
      this.decoded++;
      this.#made.set(name, inflated(this.#text(name)).then(convert));
    }
    return this.#made.get(name);
  }

  numbers(name) {
    return this.#get(name, unshuffled);
  }

  pictures(name, signed = true) {
    return this.#get(name, bytes => pictures(bytes, signed));
  }
}
