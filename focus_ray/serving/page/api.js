// Asking the endpoint: one picture, its answer, and refusals in words.

const OUTPUTS = "mask,region,rendering,glb";

export class Refused extends Error {
  constructor(message, status, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

export async function reconstruct(picture, { refine, key, outputs = OUTPUTS, waiting = () => {} }) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await ask(picture, refine, key, outputs);
    } catch (error) {
      if (attempt > 0 || !error.retryAfter) throw error;
      waiting(error.retryAfter);
      await new Promise((resolve) => setTimeout(resolve, 1000 * error.retryAfter));
    }
  }
}

async function ask(picture, refine, key, outputs) {
  const form = new FormData();
  form.append("image", picture, "photo");
  form.append("outputs", outputs);
  form.append("refine", String(refine));
  let response;
  try {
    response = await fetch("/v1/reconstructions", {
      method: "POST",
      body: form,
      headers: key ? { Authorization: `Bearer ${key}` } : {},
    });
  } catch {
    throw new Refused("The endpoint cannot be reached. Try again in a moment.", 0, 0);
  }
  if (response.ok) return response.json();
  throw await refusal(response);
}

async function refusal(response) {
  const problem = await response.json().catch(() => ({}));
  const detail = problem.detail || `the endpoint answered ${response.status}`;
  const words = response.status === 401 ? "This endpoint asks for an API key: give it under Options." : sentence(detail);
  return new Refused(words, response.status, Number(response.headers.get("Retry-After")) || 0);
}

function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}.`;
}

export function blobOf(output) {
  const bytes = Uint8Array.from(atob(output.base64), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: output.media_type });
}
