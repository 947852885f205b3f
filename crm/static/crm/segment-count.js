// Requests the number of contacts that a filter matches, after a pause in the changes.

import { csrfToken } from "./csrf.js";

const WAIT = 300; // milliseconds

// `show(text, mistakes)` gets the result; `mistakes` are error messages by path.
export function counter(address, textarea, show) {
  let turn = 0;
  let timer;
  let running;

  async function ask(mine) {
    running = new AbortController();
    let answer;
    let body = {};
    try {
      answer = await fetch(address, {
        method: "POST",
        body: textarea.value,
        headers: {
          "Content-Type": "application/json",
          "X-CSRFToken": csrfToken(textarea.form),
        },
        redirect: "manual",
        signal: running.signal,
      });
      body = await answer.json().catch(() => ({}));
    } catch {
      answer = undefined;
    }
    // The late response to an earlier request.
    if (mine !== turn) return;
    if (body.errors) show("", body.errors);
    else if (body.message) show(body.message, {});
    else if (!answer) show("Not counted: the server cannot be reached.", {});
    else if (body.count !== undefined) {
      const number = `${body.count.toLocaleString("en")} ${body.count === 1 ? "contact" : "contacts"}`;
      show([number, ...(body.hints ?? [])].join(". "), {});
    } else if (answer.type === "opaqueredirect" || answer.status === 403) {
      show("Not counted: you are logged out, or may not see contacts or what the filter asks for.", {});
    } else show("Not counted: something went wrong.", {});
  }

  return (mistake) => {
    const mine = ++turn;
    clearTimeout(timer);
    running?.abort();
    if (!address) return;
    show(mistake ? "Not counted: the JSON has a mistake." : "Counting…", undefined);
    if (!mistake) timer = setTimeout(() => ask(mine), WAIT);
  };
}
