"use strict";
// What a photo's own bytes say. A browser shows images that Preceptor refuses, and turns 16 bits into 8 without a word.

const READ = "JPEG, PNG, WebP or BMP of 8 bits per channel";

const latin = (bytes, from, length) => String.fromCharCode(...bytes.subarray(from, from + length));

/** Why a photo would be read otherwise than Preceptor reads it; an empty text where it would not. */
function refusal(bytes) {
  if (latin(bytes, 128, 4) === "DICM")
    return "is a DICOM file: save the frame as PNG first, with the window that its reader would use";
  if (bytes[0] === 0xff && bytes[1] === 0xd8) return refusalOfJpeg(bytes);
  if (latin(bytes, 1, 3) === "PNG") return refusalOfPng(bytes);
  if (latin(bytes, 0, 4) === "RIFF" && latin(bytes, 8, 4) === "WEBP") return refusalOfWebp(bytes);
  if (latin(bytes, 0, 2) === "BM") return bytes[28] < 24 ? "is a palette image: save it as RGB first" : "";
  return `is not an image that this page reads (${READ})`;
}

function refusalOfJpeg(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let place = 2; place + 9 < bytes.length && bytes[place] === 0xff; place += 2 + view.getUint16(place + 2)) {
    while (bytes[place + 1] === 0xff) place++; // fill bytes
    const marker = bytes[place + 1];
    const startOfFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (!startOfFrame) continue;
    if (bytes[place + 4] !== 8) return `has ${bytes[place + 4]} bits per channel: convert it to 8 bits first`;
    return bytes[place + 9] === 4 ? "is a CMYK image (colours for print): convert it to RGB first" : "";
  }
  return "";
}

function refusalOfPng(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [depth, kind] = [bytes[24], bytes[25]];
  if (kind === 3) return "is a palette image: save it as RGB first";
  if (depth !== 8) return `has ${depth} bit${depth === 1 ? "" : "s"} per channel: convert it to 8 bits first`;
  for (let place = 8; place + 8 < bytes.length; place += 12 + view.getUint32(place)) {
    if (latin(bytes, place + 4, 4) === "acTL") return "holds several frames: save the one that is meant";
    if (latin(bytes, place + 4, 4) === "IDAT") break;
  }
  return "";
}

function refusalOfWebp(bytes) {
  if (latin(bytes, 12, 4) !== "VP8X") return "";
  if (bytes[20] & 2) return "holds several frames: save the one that is meant";
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let place = 12; place + 8 < bytes.length;) {
    const size = view.getUint32(place + 4, true);
    if (latin(bytes, place, 4) === "EXIF" && orientation(bytes.slice(place + 8, place + 8 + size)) > 1)
      return "is a WebP that its EXIF data turn, which browsers do not: save it upright first";
    place += 8 + size + (size % 2);
  }
  return "";
}

/** The orientation (1 to 8) in a block of EXIF data; 1 where there is none. */
function orientation(exif) {
  const start = latin(exif, 0, 4) === "Exif" ? 6 : 0;
  const view = new DataView(exif.buffer, start);
  const little = latin(exif, start, 2) === "II";
  const directory = view.getUint32(4, little);
  const entries = view.getUint16(directory, little);
  for (let entry = 0; entry < entries; entry++) {
    const place = directory + 2 + 12 * entry;
    if (view.getUint16(place, little) === 0x0112) return view.getUint16(place + 8, little);
  }
  return 1;
}
