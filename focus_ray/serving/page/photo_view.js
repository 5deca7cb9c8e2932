// The photo with a box for each face; with several faces, the boxes are buttons that choose one.

import { canvasSize, draw, layersOf } from "/assets/drawing.js";
import { byId, made, percent } from "/assets/elements.js";

const TALLEST = "32rem"; // the whole photo fits on a wide screen

export function createPhotoView(chosen) {
  const canvas = byId("photo");
  const picture = byId("picture");
  const controls = { threshold: byId("threshold"), opacity: byId("opacity"), paint: byId("paint") };
  let photo = null;
  let layers = null;
  let marked = null; // the face that is shown or being loaded
  let due = false;

  for (const control of Object.values(controls)) control.addEventListener("input", redrawSoon);

  function redrawSoon() {
    if (!due) requestAnimationFrame(redraw);
    due = true;
  }

  function redraw() {
    due = false;
    const [threshold, opacity] = [controls.threshold, controls.opacity].map(({ value }) => Number(value) / 100);
    byId("threshold-value").textContent = percent(threshold);
    byId("opacity-value").textContent = percent(opacity);
    if (photo) draw(canvas, photo, layers, { threshold, opacity, paint: controls.paint.checked });
  }

  // Shows a photo without results.
  function show(newPhoto) {
    photo = newPhoto;
    layers = null;
    marked = null;
    Object.assign(canvas, canvasSize(photo));
    picture.style.width = `min(100%, calc(${TALLEST} * ${photo.width / photo.height}))`;
    canvas.setAttribute("aria-label", "The photo");
    for (const box of picture.querySelectorAll(".box")) box.remove();
    redraw();
  }

  // Shows one face of the response.
  async function mark({ faces, image }, number) {
    marked = faces[number];
    const found = await layersOf(faces[number], canvas);
    if (marked !== faces[number]) return;
    layers = found;
    canvas.setAttribute("aria-label", `The photo. ${percent(faces[number].occlusion_fraction)} of the face is hidden.`);
    mend(faces.map((face, index) => boxOf(face, index, faces.length, image)));
    [...picture.querySelectorAll(".box")].forEach((box, index) => {
      box.classList.toggle("chosen", index === number);
      if (faces.length > 1) box.setAttribute("aria-pressed", String(index === number));
    });
    redraw();
  }

  // Keeps existing boxes, so that the keyboard focus stays.
  function mend(boxes) {
    if (picture.querySelectorAll(".box").length !== boxes.length) picture.append(...boxes);
  }

  function boxOf(face, index, count, image) {
    const box = made(count > 1 ? "button" : "span", { className: "box" });
    const [x, y, width, height] = face.box;
    const right = Math.min(image.width, x + width);
    const bottom = Math.min(image.height, y + height);
    const [left, top] = [Math.max(0, x), Math.max(0, y)];
    box.style.left = `${(100 * left) / image.width}%`;
    box.style.top = `${(100 * top) / image.height}%`;
    box.style.width = `${(100 * (right - left)) / image.width}%`;
    box.style.height = `${(100 * (bottom - top)) / image.height}%`;
    if (count > 1) {
      box.type = "button";
      box.setAttribute("aria-label", `Face ${index + 1} of ${count}`);
      box.append(made("span", { textContent: index + 1 }));
      box.addEventListener("click", () => chosen(index));
    }
    return box;
  }

  return { show, mark };
}
