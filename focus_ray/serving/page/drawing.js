// The photo with what was found in it: boxes, what is hidden, and the rendered face laid over.

import { blobOf } from "/assets/api.js";

const HIDDEN = [214, 57, 48];
const STRENGTH = 0.62;

export async function layersOf(photo, face) {
  const [mask, region, rendering] = await Promise.all(
    ["mask", "region", "rendering"].map((name) => createImageBitmap(blobOf(face.outputs[name]))),
  );
  const { width, height } = fitting(photo.width, photo.height, 1024);
  return {
    width,
    height,
    mask: greys(mask, width, height),
    region: greys(region, width, height),
    rendering,
  };
}

export function draw(canvas, photo, faces, chosen, layers, { threshold, opacity, showHidden }) {
  canvas.width = layers ? layers.width : photo.width;
  canvas.height = layers ? layers.height : photo.height;
  const context = canvas.getContext("2d");
  context.drawImage(photo, 0, 0, canvas.width, canvas.height);
  if (layers) {
    if (opacity > 0) {
      context.globalAlpha = opacity;
      context.drawImage(layers.rendering, 0, 0, canvas.width, canvas.height);
      context.globalAlpha = 1;
    }
    if (showHidden) paintHidden(context, layers, threshold);
  }
  boxes(context, faces, chosen, canvas.width / photo.width);
}

function paintHidden(context, { width, height, mask, region }, threshold) {
  const picture = context.getImageData(0, 0, width, height);
  const least = 255 * threshold;
  for (let pixel = 0; pixel < width * height; pixel += 1) {
    if (region[pixel] > 127 && mask[pixel] <= least) {
      for (let channel = 0; channel < 3; channel += 1) {
        const at = 4 * pixel + channel;
        picture.data[at] += STRENGTH * (HIDDEN[channel] - picture.data[at]);
      }
    }
  }
  context.putImageData(picture, 0, 0);
}

function boxes(context, faces, chosen, zoom) {
  faces.forEach((face, number) => {
    const [x, y, width, height] = face.box.map((value) => value * zoom);
    context.lineWidth = number === chosen ? 3 : 1.5;
    context.strokeStyle = number === chosen ? "#2fbf71" : "#ffffff";
    context.strokeRect(x, y, width, height);
  });
}

function greys(bitmap, width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  return Uint8Array.from({ length: width * height }, (_, pixel) => data[4 * pixel]);
}

function fitting(width, height, longest) {
  const zoom = Math.min(1, longest / Math.max(width, height));
  return { width: Math.max(1, Math.round(width * zoom)), height: Math.max(1, Math.round(height * zoom)) };
}
