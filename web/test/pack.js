// Blocks as Python writes them, for tests.
import {gzipSync} from "node:zlib";

const base64 = bytes => gzipSync(bytes).toString("base64");

export function numberBlock(values) {
  const bytes = new Uint8Array(Float32Array.from(values).buffer), count = values.length, planes = new Uint8Array(bytes.length);
  for (let i = 0; i < count; i++) for (let plane = 0; plane < 4; plane++) planes[plane * count + i] = bytes[4 * i + plane];
  return base64(planes);
}

export function pictureBlock(shape, scales, values) {
  const head = Buffer.from(JSON.stringify({shape, scales})), length = Buffer.alloc(4);
  length.writeUInt32LE(head.length);
  return base64(Buffer.concat([length, head, Buffer.from(Int8Array.from(values).buffer)]));
}
