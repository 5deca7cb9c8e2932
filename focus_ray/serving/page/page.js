// The page: a photo in, what was seen of it out.

import { blobOf, reconstruct } from "/assets/api.js";
import { openCamera } from "/assets/camera.js";
import { draw, layersOf } from "/assets/drawing.js";
import { createViewer } from "/assets/viewer.js";

const REMARKS = {
  small_face: "The face has few pixels.",
  cut_off: "Part of the face is outside the photo.",
  landmarks_from_model: "The face was aligned by the model's own landmarks.",
  high_residual: "The visible part is explained badly.",
  extreme_pose: "The head is turned further than the model has learned.",
  mostly_occluded: "Less than half of the face is visible.",
};

const byId = (id) => document.getElementById(id);
const percent = (share) => `${Math.round(100 * share)} %`;

const state = { photo: null, file: null, answer: null, chosen: 0, layers: null };
let viewer = null;

function say(words, kind = "") {
  byId("status").textContent = words;
  byId("status").className = kind;
}

async function work(file) {
  if (!file) return;
  say("Looking at the photo …", "busy");
  for (const button of document.querySelectorAll("button")) button.disabled = true;
  try {
    state.photo = await createImageBitmap(file).catch(() => {
      throw new Error("This file is no picture that the browser can show. Choose a JPEG, PNG or WebP.");
    });
    state.file = file;
    state.answer = await reconstruct(file, {
      ...options(),
      waiting: (seconds) => say(`The endpoint is busy; trying again in ${seconds} s …`, "busy"),
    });
    await choose(0);
    const count = state.answer.faces.length;
    say(count ? `${count} face${count > 1 ? "s" : ""} found.` : "No face was found. Try a photo that shows one from the front.");
  } catch (error) {
    say(error.message, "problem");
  } finally {
    for (const button of document.querySelectorAll("button")) button.disabled = false;
  }
}

function options() {
  return { refine: byId("refine").checked, key: byId("key").value.trim() };
}

async function choose(number) {
  const { faces } = state.answer;
  state.chosen = number;
  state.layers = faces.length ? await layersOf(state.photo, faces[number]) : null;
  byId("result").hidden = faces.length === 0;
  if (!faces.length) return;
  showFaces();
  showFigures(faces[number]);
  redraw();
  await showHead(faces[number]);
  byId("result").focus({ preventScroll: false });
}

function showFaces() {
  const { faces } = state.answer;
  byId("faces").hidden = faces.length < 2;
  byId("faces").replaceChildren(
    ...faces.map((_, number) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = `Face ${number + 1}`;
      button.setAttribute("aria-pressed", String(number === state.chosen));
      button.addEventListener("click", () => choose(number));
      return button;
    }),
  );
}

function showFigures(face) {
  byId("occlusion").textContent = percent(face.occlusion_fraction);
  byId("quality").replaceChildren(
    ...face.quality.map((name) => {
      const remark = document.createElement("li");
      remark.textContent = REMARKS[name] || name;
      return remark;
    }),
  );
  byId("parts").replaceChildren(
    ...Object.entries(face.visibility).flatMap(([part, share]) => {
      const [term, bar, value] = ["dt", "dd", "dd"].map((kind) => document.createElement(kind));
      term.textContent = part;
      const meter = document.createElement("meter");
      meter.value = share;
      meter.setAttribute("aria-label", `${part}: ${percent(share)} visible`);
      bar.append(meter);
      value.textContent = percent(share);
      return [term, bar, value];
    }),
  );
  const corrected = face.corrected ? ", corrected by the misfit prior" : "";
  byId("model").textContent = `Model ${state.answer.model_version}${corrected}. Request ${state.answer.request_id}.`;
}

function redraw() {
  if (!state.answer?.faces.length) return;
  const threshold = Number(byId("threshold").value);
  const opacity = Number(byId("opacity").value);
  byId("threshold-value").textContent = `${threshold} %`;
  byId("opacity-value").textContent = `${opacity} %`;
  draw(byId("photo"), state.photo, state.answer.faces, state.chosen, state.layers, {
    threshold: threshold / 100,
    opacity: opacity / 100,
    showHidden: byId("show-mask").checked,
  });
  const face = state.answer.faces[state.chosen];
  byId("photo").setAttribute(
    "aria-label",
    `The photo with ${state.answer.faces.length} face(s); ${percent(face.occlusion_fraction)} of this one is hidden`,
  );
}

async function showHead(face) {
  try {
    viewer ??= await createViewer(byId("viewer"));
    await viewer.load(blobOf(face.outputs.glb));
  } catch {
    byId("viewer").hidden = true;
    byId("reset").hidden = true;
    byId("viewer-words").textContent = "The head cannot be shown in 3D here; save the mesh to look at it elsewhere.";
  }
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

async function saveObj() {
  say("Asking for the OBJ …", "busy");
  try {
    const answer = await reconstruct(state.file, { ...options(), outputs: "obj" });
    save(blobOf(answer.faces[state.chosen].outputs.obj), "face.obj");
    say("Saved.");
  } catch (error) {
    say(error.message, "problem");
  }
}

function answerWithoutFiles() {
  const faces = state.answer.faces.map(({ outputs, ...face }) => face);
  return new Blob([JSON.stringify({ ...state.answer, faces }, null, 1)], { type: "application/json" });
}

byId("file").addEventListener("change", (event) => work(event.target.files[0]));
byId("example").addEventListener("click", async () => {
  const response = await fetch("/assets/example.png");
  work(await response.blob());
});
byId("camera").addEventListener("click", () => openCamera(byId("booth"), byId("drop"), work, (words) => say(words, "problem")));
for (const name of ["threshold", "opacity", "show-mask"]) byId(name).addEventListener("input", redraw);
byId("reset").addEventListener("click", () => viewer?.reset());
byId("save-glb").addEventListener("click", () => save(blobOf(state.answer.faces[state.chosen].outputs.glb), "face.glb"));
byId("save-obj").addEventListener("click", saveObj);
byId("save-json").addEventListener("click", () => save(answerWithoutFiles(), "faces.json"));

const drop = byId("drop");
for (const kind of ["dragover", "dragenter"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
}
document.addEventListener("dragleave", () => drop.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  work(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => work([...event.clipboardData.files][0]));
