// Files of an answer, for the user's disk.

import { blobOf } from "/assets/api.js";

export const saveOutput = (output, name) => save(blobOf(output), name);

// The answer without its files, as the endpoint gave it.
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
