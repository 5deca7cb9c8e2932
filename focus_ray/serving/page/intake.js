// Sources of photos: dropped, pasted, chosen, the example, or the camera.

import { setUpCamera } from "/assets/camera.js";
import { byId } from "/assets/elements.js";

const MOST = { pixels: 12e6, bytes: 10e6 }; // slightly below the default limits of an endpoint
const QUALITY = 0.92;

// Shrinks a photo that exceeds the limits, as photos of phones do.
export async function small(file, bitmap) {
  const pixels = bitmap.width * bitmap.height;
  if (pixels <= MOST.pixels && file.size <= MOST.bytes) return file;
  const zoom = Math.min(1, Math.sqrt(MOST.pixels / pixels));
  const canvas = new OffscreenCanvas(Math.floor(zoom * bitmap.width), Math.floor(zoom * bitmap.height));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: "image/jpeg", quality: QUALITY });
}

export function setUpIntake(taken, refused) {
  const drop = byId("drop");
  byId("file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) taken(file);
    event.target.value = ""; // so that the same photo can be chosen again
  });
  byId("example").addEventListener("click", async () => {
    const response = await fetch("/assets/example.jpg").catch(() => null);
    if (response?.ok) taken(await response.blob());
    else refused("The example cannot be loaded. Check that the endpoint is running.");
  });
  setUpCamera({ button: byId("camera"), booth: byId("booth"), drop, taken, refused });
  setUpDropping(drop, (data) => {
    const file = [...data.files].find(({ type }) => type.startsWith("image/")) ?? data.files[0];
    if (file) taken(file);
  });
}

// The whole page is a drop target, so that a photo dropped elsewhere does not replace the page.
function setUpDropping(drop, given) {
  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    given(event.dataTransfer);
  });
  document.addEventListener("paste", (event) => given(event.clipboardData));
}
