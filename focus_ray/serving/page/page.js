// The page: sends a photo and shows the result.

import { blobOf, reconstruct } from "/assets/api.js";
import { byId, percent } from "/assets/elements.js";
import { showFigures } from "/assets/figures.js";
import { setUpIntake, small } from "/assets/intake.js";
import { createPhotoView } from "/assets/photo_view.js";
import { saveAnswer, saveOutput } from "/assets/saving.js";
import { showShapes } from "/assets/shapes.js";
import { NoViewer, createViewer } from "/assets/viewer.js";

const HEADINGS = { busy: "The photo", found: "Result", none: "No face was found" };

const shown = { file: null, sent: null, options: null, answer: null, number: 0 };
const photoView = createPhotoView(choose);
let underWay = new AbortController();
let viewer = null;

function say(words) {
  byId("status").textContent = words;
  byId("trouble").textContent = "";
  byId("again").hidden = true;
  byId("key").removeAttribute("aria-invalid");
}

function complain(words, again = false) {
  say("");
  byId("trouble").textContent = words;
  byId("again").hidden = !again;
}

// empty: no photo yet; busy: a photo is processed; found: faces; none: no face.
function enter(state) {
  byId("main").dataset.state = state;
  byId("result").setAttribute("aria-busy", String(state === "busy")); // the status line is outside of it
  byId("result").hidden = state === "empty";
  byId("result-heading").textContent = HEADINGS[state] ?? "";
  for (const id of ["figures", "head", "photo-controls", "legend"]) byId(id).hidden = state !== "found";
}

// A newer photo cancels the one in progress.
async function work(file) {
  underWay.abort();
  underWay = new AbortController();
  const { signal } = underWay;
  const focused = document.activeElement;
  say("Processing the photo …");
  const photo = await createImageBitmap(file).catch(() => null);
  if (signal.aborted) return;
  if (!photo) {
    if (!shown.answer) enter("empty");
    complain("The browser cannot read this file as a picture. Choose a JPEG, PNG or WebP.");
    return;
  }
  Object.assign(shown, { file, options: options(), answer: null, number: 0 });
  photoView.show(photo);
  enter("busy");
  const sent = await small(file, photo);
  if (signal.aborted) return;
  shown.sent = sent;
  prepareViewer().catch(() => {}); // reported when there is a head to show
  try {
    const answer = await reconstruct(sent, { ...shown.options, signal, waiting: sayWhenAgain });
    if (signal.aborted) return;
    await showAnswer(answer);
    if (!signal.aborted && [focused, document.body].includes(document.activeElement)) byId("result-heading").focus();
  } catch (error) {
    if (!signal.aborted) refused(error);
  }
}

function options() {
  return { refine: byId("refine").value, key: byId("key").value.trim() };
}

function sayWhenAgain({ message, retryAfter }) {
  say(`${message} Retrying once in ${retryAfter} s …`);
}

function refused({ message, status, retryAfter }) {
  if (!shown.answer) enter("empty");
  complain(retryAfter ? `${message} Try again in ${retryAfter} s.` : message, !shown.answer);
  if (status === 401) {
    byId("options").open = true;
    byId("key").setAttribute("aria-invalid", "true");
    byId("key").focus();
  }
}

async function showAnswer(answer) {
  shown.answer = answer;
  const { faces } = answer;
  if (faces.length === 0) {
    enter("none");
    say("No face was found. Try a photo with a larger or brighter face, or one seen more from the front.");
    return;
  }
  enter("found");
  await choose(0);
  const hidden = `${percent(faces[0].occlusion_fraction)} of ${faces.length > 1 ? "the first" : "it"} is hidden`;
  if (answer === shown.answer) say(`${faces.length > 1 ? `${faces.length} faces were` : "One face was"} found; ${hidden}.`);
}

async function choose(number) {
  const { answer } = shown;
  shown.number = number;
  showFigures(answer.faces[number], answer);
  await Promise.all([photoView.mark(answer, number), showHead(answer.faces[number])]);
}

const prepareViewer = () => (viewer ??= createViewer(byId("viewer"), byId("turns")));

async function showHead(face) {
  let trouble = "";
  try {
    const view = await prepareViewer();
    await view.load(blobOf(face.outputs.glb));
    showShapes(view);
  } catch (error) {
    trouble = error instanceof NoViewer ? error.message : "The head cannot be shown. Save the mesh to open it in another viewer.";
  }
  byId("no-viewer").textContent = trouble;
  byId("no-viewer").hidden = !trouble;
  for (const id of ["viewer", "viewer-words", "turns"]) byId(id).hidden = Boolean(trouble);
  if (trouble) byId("shapes").hidden = true;
}

const faceName = (ending) => `face-${shown.number + 1}.${ending}`;

// Requested on demand: it is rarely used.
async function saveObj() {
  const { sent, number, answer } = shown;
  say("Requesting the mesh as OBJ …");
  try {
    const { faces } = await reconstruct(sent, { ...shown.options, key: options().key, outputs: "obj" });
    if (answer !== shown.answer) return;
    saveOutput(faces[number].outputs.obj, faceName("obj"));
    say("The mesh was saved.");
  } catch (error) {
    if (answer === shown.answer) refused(error);
  }
}

setUpIntake(work, complain);
byId("again").addEventListener("click", () => work(shown.file));
byId("key").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && shown.file) work(shown.file);
});
byId("save-glb").addEventListener("click", () =>
  saveOutput(shown.answer.faces[shown.number].outputs.glb, faceName("glb")),
);
byId("save-obj").addEventListener("click", saveObj);
byId("save-json").addEventListener("click", () => saveAnswer(shown.answer));
