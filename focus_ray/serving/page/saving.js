// Saves outputs and the response as files.

import { blobOf } from "/assets/api.js";

export const saveOutput = (output, name) => save(blobOf(output), name);

// Saves the response as JSON, without the outputs of its faces.
export function saveAnswer(answer) {
  const faces = answer.faces.map(({ outputs, ...face }) => face);
  const text = JSON.stringify({ ...answer, faces }, null, 1);
  save(new Blob([text], { type: "application/json" }), "faces.json");
}

function save(blob, download) {
  const href = URL.createObjectURL(blob);
  Object.assign(document.createElement("a"), { href, download }).click();
  setTimeout(() => URL.revokeObjectURL(href), 10_000);
}
