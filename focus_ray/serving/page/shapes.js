// Sliders for the strongest shapes of the expression. They move the head in the 3D view, not the result.

import { byId, made, percent } from "/assets/elements.js";

const MOST = 8;

export function showShapes(viewer) {
  const strongest = viewer.shapes().sort((one, other) => other.weight - one.weight).slice(0, MOST);
  byId("shapes").hidden = strongest.length === 0;
  byId("shape-sliders").replaceChildren(...strongest.map((shape) => sliderOf(shape, viewer)));
}

function sliderOf({ name, weight }, viewer) {
  const id = `shape-${name}`;
  const value = made("output", { textContent: percent(weight) });
  value.htmlFor = id;
  const slider = made("input", { id, type: "range", min: 0, max: 100, value: Math.round(100 * weight) });
  slider.addEventListener("input", () => {
    const share = Number(slider.value) / 100;
    value.textContent = percent(share);
    viewer.setShape(name, share);
  });
  return made("p", {}, made("label", { htmlFor: id, textContent: words(name) }), value, slider);
}

// mouthSmileLeft: Mouth smile left
const words = (name) => {
  const spaced = name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  return spaced[0].toUpperCase() + spaced.slice(1);
};
