// What is said of a face: how much is hidden, which parts are seen, and what speaks against the answer.

import { byId, made, percent } from "/assets/elements.js";

const REMARKS = {
  small_face: "The face has few pixels: details are guessed.",
  cut_off: "Part of the face lies outside of the photo.",
  landmarks_from_model: "Nobody gave landmarks, so the model aligned the face by its own.",
  high_residual: "Even the visible part is explained badly.",
  extreme_pose: "The head is turned further than the model has learned.",
  mostly_occluded: "Less than half of the face is visible.",
};

export function showFigures(face, { model_version: version, request_id: request }) {
  byId("occlusion").textContent = percent(face.occlusion_fraction);
  byId("arc").setAttribute("stroke-dasharray", `${100 * face.occlusion_fraction} 100`);
  const remarks = face.quality.map((name) => REMARKS[name] || name);
  byId("remarks").replaceChildren(
    ...(remarks.length ? remarks : ["None."]).map((textContent) => made("li", { textContent })),
  );
  byId("parts").replaceChildren(...Object.entries(face.visibility).map(partOf));
  const corrected = face.corrected ? ", corrected by its misfit prior" : "";
  byId("origin").textContent = `Model ${version}${corrected}. Request ${request}.`;
}

function partOf([part, share]) {
  const meter = made("meter", { value: share, low: 0.5, optimum: 1 });
  meter.setAttribute("aria-label", `${part}, visible`);
  return made(
    "li",
    {},
    made("span", { textContent: part }),
    meter,
    made("span", { className: "share", textContent: percent(share) }),
  );
}
