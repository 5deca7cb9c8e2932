// Shows the results of a face: hidden share, visible parts, and quality remarks.

import { byId, made, percent } from "/assets/elements.js";

const REMARKS = {
  small_face: "The face has few pixels; its details are uncertain.",
  cut_off: "Part of the face is outside the photo.",
  landmarks_from_model: "The face was aligned by landmarks that the model predicted.",
  high_residual: "The reconstruction fits the visible part poorly.",
  extreme_pose: "The head is turned further than in nearly all training images.",
  mostly_occluded: "Less than half of the face is visible.",
  landmarks_disagree: "The reconstruction lies elsewhere than the detected or given landmarks.",
  poor_first_fit: "The reconstruction fitted the visible part poorly before it was refined.",
  low_presence: "The detector is not sure that this is a face.",
  unstable_mask: "The refinement changed much of the mask; hidden parts may count as face.",
  unstable_landmarks: "The model places the landmarks differently in slightly different crops.",
  detector_fallback: "The detector found only a box of the face; the place of the face is uncertain.",
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
