// Draws the photo with hidden pixels in red and the rendered face over it.

import { blobOf } from "/assets/api.js";

const HIDDEN = [201, 52, 43];
const STRENGTH = 0.6;
const STRIPE = 0.16; // opacity of alternating stripes, more or less: colour must not be the only cue
const STRIPE_WIDTH = 9; // px of the canvas
const SOFT_EDGE = 14; // width of the transition at the threshold, in the mask's 255 levels
const LONGEST = 1024; // px of the canvas
const MOST_ENLARGED = 3; // small photos are enlarged, so that the edge of the mask is smooth

// Returns the canvas size for a photo.
export function canvasSize({ width, height }) {
  const zoom = Math.min(MOST_ENLARGED, LONGEST / Math.max(width, height));
  return { width: Math.max(1, Math.round(width * zoom)), height: Math.max(1, Math.round(height * zoom)) };
}

// Decodes the outputs of a face; mask and region are scaled to the canvas.
export async function layersOf(face, { width, height }) {
  const [mask, region, rendering] = await Promise.all(
    ["mask", "region", "rendering"].map((name) => createImageBitmap(blobOf(face.outputs[name]))),
  );
  return { mask: greys(mask, width, height), region: greys(region, width, height), rendering };
}

export function draw(canvas, photo, layers, { threshold, opacity, paint }) {
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(photo, 0, 0, canvas.width, canvas.height);
  if (!layers) return;
  if (paint) paintHidden(context, layers, 255 * threshold);
  context.globalAlpha = opacity;
  context.drawImage(layers.rendering, 0, 0, canvas.width, canvas.height);
  context.globalAlpha = 1;
}

function paintHidden(context, { mask, region }, least) {
  const { width, height } = context.canvas;
  const picture = context.getImageData(0, 0, width, height);
  for (let pixel = 0; pixel < mask.length; pixel += 1) {
    if (region[pixel] === 0 || mask[pixel] >= least + SOFT_EDGE / 2) continue;
    const below = Math.min(1, (least - mask[pixel]) / SOFT_EDGE + 0.5);
    const column = pixel % width;
    const stripe = Math.floor((column + (pixel - column) / width) / STRIPE_WIDTH) % 2 ? STRIPE : -STRIPE;
    const share = (below * (STRENGTH + stripe) * region[pixel]) / 255;
    for (let channel = 0; channel < 3; channel += 1) {
      const at = 4 * pixel + channel;
      picture.data[at] += share * (HIDDEN[channel] - picture.data[at]);
    }
  }
  context.putImageData(picture, 0, 0);
}

function greys(bitmap, width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  return Uint8Array.from({ length: width * height }, (_, pixel) => data[4 * pixel]);
}
