// Builds the document of an automation. The JSON in the textarea is the form's field: the builder is
// drawn from it and writes it. Without scripts the textarea works alone.

import { csrfToken } from "../crm/csrf.js";
import { parseJSON } from "../crm/segment-json.js";
import { make } from "../crm/segment-values.js";
import { conditionFields, fieldsOf, grid, happeningOf } from "./builder-fields.js";
import { stepsOf } from "./builder-steps.js";

const WAIT = 300; // milliseconds

function start(textarea, table) {
  const builder = make("div", { id: "automation-builder", className: "segment-builder" });
  const status = make("p", { className: "segment-count", role: "status" });
  const places = new Map(); // what is drawn, by its place in the document
  const fresh = new WeakSet(); // new parts, whose errors are not shown yet
  const open = new WeakSet(); // unfolded steps
  let draft = {};
  let isReady = false; // to be saved
  let turn = 0;
  let timer;

  const context = {
    table,
    fresh,
    open,
    places,
    // Called after each change. `again` draws the builder again, and `focus` is a selector.
    changed(again, focus) {
      textarea.value = JSON.stringify(draft, null, 2);
      if (again) {
        draw();
        if (focus) builder.querySelector(focus)?.focus();
      }
      check();
    },
    // Returns the lines below a part: its sentence and its errors.
    lines(place, owner, sentence) {
      if (typeof owner !== "object") throw new TypeError(`${place} is no object.`);
      const mistake = make("p", { className: "segment-mistake", hidden: true });
      mistake.setAttribute("aria-live", "polite");
      places.set(place, { owner, sentence, mistake });
      return mistake;
    },
  };

  function section(title, ...parts) {
    const id = `automation-${title.toLowerCase().replaceAll(" ", "-")}`;
    const heading = make("h2", { id, textContent: title });
    const box = make("section", { className: "card" }, heading, ...parts);
    box.setAttribute("aria-labelledby", id);
    return box;
  }

  function triggerOf() {
    const kinds = table.triggers;
    const sentence = make("p", { className: "automation-sentence" });
    const trigger = draft.trigger;
    const parts = happeningOf(context, "Trigger", kinds, trigger, (next) => {
      draft.trigger = next;
      fresh.add(next);
      context.changed(true, ".automation-trigger select");
    });
    const box = make("div", { className: "automation-trigger" }, sentence, grid(...parts));
    box.append(context.lines("trigger", trigger, sentence));
    return box;
  }

  function draw() {
    places.clear();
    const about = table.rules.filter((field) => ["title", "description"].includes(field.name));
    const rules = table.rules.filter((field) => !about.includes(field));
    const ruled = context.lines("rules", draft);
    const conditions = make("h3", { textContent: "Conditions" });
    const none = "No condition: every contact may start.";
    builder.replaceChildren(
      section("About", grid(...fieldsOf(context, about, draft)), context.lines("", draft)),
      section("Starts when", triggerOf()),
      section(
        "Who may start",
        grid(...fieldsOf(context, rules, draft)),
        ruled,
        conditions,
        conditionFields(context, draft, none),
        context.lines("conditions", draft),
      ),
      section("Steps", stepsOf(context, draft.steps, "steps", [])),
    );
  }

  function drawFromJSON() {
    let found;
    try {
      found = parseJSON(textarea.value);
    } catch {
      found = undefined;
    }
    if (!found || typeof found !== "object" || Array.isArray(found)) {
      places.clear();
      const text = "This is no JSON object yet. The builder is back as soon as it is.";
      builder.replaceChildren(make("p", { className: "segment-mistake", textContent: text }));
      return;
    }
    draft = found;
    draft.trigger ??= { type: "manual" };
    draft.conditions ??= [];
    draft.steps ??= [];
    try {
      draw();
    } catch {
      // Of another shape than a document has.
      places.clear();
      const text = "The builder cannot show this JSON. The errors below tell why.";
      builder.replaceChildren(make("p", { className: "segment-mistake", textContent: text }));
    }
    check();
  }

  // Returns the sentences and the errors, or undefined if the server gives none.
  async function request() {
    const token = csrfToken(textarea.form);
    try {
      const answer = await fetch(table.check, {
        method: "POST",
        body: textarea.value,
        headers: { "Content-Type": "application/json", "X-CSRFToken": token },
        redirect: "manual",
      });
      return answer.ok ? await answer.json() : undefined;
    } catch {
      return undefined;
    }
  }

  // Checks after a pause in the changes.
  function check() {
    const mine = ++turn;
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const answer = await request();
      // The late response to an earlier request is ignored.
      if (mine !== turn) return;
      if (answer) show(answer);
      else status.textContent = "Not checked: the server cannot be reached, or you are logged out.";
    }, WAIT);
  }

  // A page that replaces this one with an error would lose what was typed.
  async function save(event) {
    if (isReady) return;
    event.preventDefault();
    // The outcome of a check that is under way would replace that of saving.
    turn += 1;
    clearTimeout(timer);
    isReady = Boolean(await request());
    if (isReady) event.target.requestSubmit(event.submitter);
    else {
      status.textContent =
        "Not saved: the server cannot be reached, or you are logged out. Log in in another tab, and save again.";
    }
  }

  function show({ errors, sentences }) {
    for (const [place, { sentence, mistake }] of places) {
      if (sentence && sentences[place]) sentence.textContent = sentences[place];
      mistake.hidden = true;
      mistake.textContent = "";
    }
    let number = 0;
    // Of parts that the builder cannot draw.
    const others = [];
    for (const [path, text] of Object.entries(errors)) {
      const part = places.get(placeOf(path));
      if (part && fresh.has(part.owner)) continue;
      number += 1;
      if (!part) {
        others.push(text);
        continue;
      }
      part.mistake.textContent = `${part.mistake.textContent} ${text}`.trim();
      part.mistake.hidden = false;
    }
    if (number) {
      const sum = `${number} ${number === 1 ? "error" : "errors"} so far.`;
      status.textContent = [sum, ...others].join(" ");
    } else if (Object.keys(errors).length) status.textContent = "Fill in what is new.";
    else status.textContent = "Complete.";
  }

  // Returns the longest place that is drawn and holds a path.
  function placeOf(path) {
    const parts = path.split(".");
    while (parts.length && !places.has(parts.join("."))) parts.pop();
    if (parts.length) return parts.join(".");
    return ["title", "description", "document"].includes(path) ? "" : "rules";
  }

  textarea.closest(".automation-json").before(builder, status);
  for (const [name, choices] of Object.entries(table.filters.choices)) {
    if (choices.closed) continue;
    // Before the builders of conditions add them beside what is drawn again later.
    const options = choices.items.map(([value]) => make("option", { value }));
    status.after(make("datalist", { id: `segment-suggestions-${name}` }, ...options));
  }
  textarea.addEventListener("input", drawFromJSON);
  textarea.form.addEventListener("submit", save);
  drawFromJSON();
  // What the builder cannot show is mended there.
  textarea.closest("details").open = !places.size;
  if (!("posted" in textarea.dataset)) {
    fresh.add(draft);
    fresh.add(draft.trigger);
  } else {
    // What was rejected is unfolded.
    for (const { owner } of places.values()) open.add(owner);
    if (places.size) draw();
  }
}

const textarea = document.getElementById("id_document");
const table = document.getElementById("automation-table");
if (textarea && table) start(textarea, JSON.parse(table.textContent));
