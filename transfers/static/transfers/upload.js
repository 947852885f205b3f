// Sends the chosen file in pieces, so that no proxy finds it too large, and each piece again after
// an error of the network.

import { csrfToken } from "../crm/csrf.js";

const PIECE = 512 * 1024; // bytes
const TRIES = 5;
const PAUSE = 1000; // milliseconds

const form = document.getElementById("upload");
const status = document.getElementById("upload-status");
const bar = document.getElementById("upload-bar");
const button = form.querySelector("[type=submit]");

async function post(url, body) {
  const headers = { "X-CSRFToken": csrfToken(form) };
  const answer = await fetch(url, { method: "POST", body, headers, redirect: "error" });
  const found = await answer.json().catch(() => ({}));
  return { ok: answer.ok, error: found.error ?? `The server answers ${answer.status}.`, ...found };
}

async function send(url, offset, piece) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await post(`${url}?offset=${offset}`, piece);
    } catch (error) {
      if (tries === TRIES) throw error;
      status.textContent = "The network fails. Trying again …";
      await new Promise((resolve) => setTimeout(resolve, PAUSE * tries));
    }
  }
}

async function upload(file) {
  const start = new FormData();
  start.set("kind", form.elements.kind.value);
  start.set("name", file.name.slice(0, 200));
  start.set("size", file.size);
  const begun = await post(form.action, start);
  if (!begun.ok) return begun.error;
  bar.max = file.size;
  bar.hidden = false;
  for (let sent = 0; sent < file.size; ) {
    const answer = await send(begun.upload, sent, file.slice(sent, sent + PIECE));
    if (answer.size === undefined) return answer.error;
    sent = answer.size;
    bar.value = sent;
    status.textContent = `${Math.floor((sent / file.size) * 100)} % are uploaded.`;
  }
  location.assign(begun.columns);
  return "";
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const [file] = form.elements.file.files;
  if (!file) return;
  button.disabled = true;
  status.className = "quiet";
  status.textContent = "The upload begins …";
  let error;
  try {
    error = file.size > Number(form.dataset.max) ? form.dataset.tooLarge : await upload(file);
  } catch {
    error = "The server cannot be reached. Try again.";
  }
  if (error) {
    status.className = "errornote";
    status.textContent = error;
    button.disabled = false;
    bar.hidden = true;
  }
});
