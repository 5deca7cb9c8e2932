// Client of the endpoint: sends one picture, returns the response, turns refusals into messages.

const OUTPUTS = "mask,region,rendering,glb";
const LONGEST_PAUSE = 60; // s; longer waits are left to the user
const MOST_FACES = "16"; // the largest that the endpoint allows; settings of the endpoint can be lower

export class Refused extends Error {
  constructor(message, { status = 0, retryAfter = 0 } = {}) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter; // s
  }
}

// refine: "true", "false", or "" for the default of the endpoint.
// waiting: called with the refusal if the endpoint is busy, before the only retry.
export async function reconstruct(picture, { refine, key, outputs = OUTPUTS, signal, waiting = () => {} }) {
  const form = new FormData();
  form.append("image", picture, "photo");
  form.append("outputs", outputs);
  form.append("max_faces", MOST_FACES);
  if (refine) form.append("refine", refine);
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  try {
    return await ask({ method: "POST", body: form, headers, signal });
  } catch (error) {
    if (!(error.retryAfter > 0 && error.retryAfter <= LONGEST_PAUSE)) throw error;
    waiting(error);
    await pause(error.retryAfter, signal);
    return ask({ method: "POST", body: form, headers, signal });
  }
}

export function blobOf(output) {
  const bytes = Uint8Array.from(atob(output.base64), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: output.media_type });
}

async function ask(request) {
  let response;
  try {
    response = await fetch("/v1/reconstructions", request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The endpoint cannot be reached or closed the connection. Try a smaller photo, or try again later.");
  }
  if (response.ok) return response.json();
  throw await refusal(response);
}

async function refusal(response) {
  const { status } = response;
  const problem = await response.json().catch(() => ({}));
  if (status === 401) return new Refused("This endpoint requires an API key. Enter a valid one, then try again.", { status });
  const words = problem.detail ? sentence(problem.detail) : `The endpoint responded with status ${status}.`;
  return new Refused(words, { status, retryAfter: secondsUntil(response.headers.get("Retry-After")) });
}

// Retry-After is a number of seconds or a date.
function secondsUntil(text) {
  if (!text) return 0;
  const seconds = Number(text);
  const until = Number.isNaN(seconds) ? (Date.parse(text) - Date.now()) / 1000 : seconds;
  return until > 0 ? Math.ceil(until) : 0;
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1).replace(/\.$/, "")}.`;
}
