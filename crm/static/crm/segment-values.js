// Creates the inputs of a condition by the types of its values, each with a label.

import { NUMBERS, SEVERAL, asNumber, asText } from "./segment-json.js";

const MANY = 15; // more choices have a search box
const TYPED = /^(insertText|insertComposition|insertFromPaste|insertFromDrop|delete|history)/;
const MOMENT = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?))?$/;

let serial = 0;
export const newId = (name) => `segment-${name}-${++serial}`;

// Sets texts as text, never as markup.
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export const button = (label, className, onclick) =>
  make("button", { type: "button", className, textContent: label, onclick });

export function labelled(name, control, ...more) {
  control.id ||= newId("control");
  const label = make("label", { htmlFor: control.id, textContent: name });
  return make("div", { className: "segment-field" }, label, control, ...more);
}

// Enter in a box would submit the form.
const onEnter = (box, act) =>
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing) return;
    event.preventDefault();
    act();
  });

export function selectOf(name, options, chosen, change) {
  const all = [...options];
  if (!all.some(([value]) => value === chosen)) {
    all.unshift([chosen ?? "", asText(chosen) ? `${asText(chosen)} (unknown)` : "Choose…"]);
  }
  const select = make("select");
  for (const [value, label] of all) {
    const selected = value === (chosen ?? "");
    select.append(make("option", { value: asText(value), textContent: label, selected }));
  }
  select.addEventListener("change", () => change(all[select.selectedIndex][0]));
  return labelled(name, select);
}

export function input(type, value, set, more = {}) {
  const element = make("input", { type, value: asText(value), autocomplete: "off", ...more });
  element.addEventListener("input", () => set(element.value));
  return element;
}

// A list of texts: those that were added are above the box, and the text in the box counts too.
function listOf(label, values, set, list) {
  const added = [...values];
  const chips = make("ul", { className: "segment-chips" });
  const hint = make("p", { className: "segment-hint", textContent: "Enter adds one more." });
  hint.id = newId("hint");
  const inBox = () => (box.value.trim() ? [box.value.trim()] : []);
  const tell = () => set([...added, ...inBox()]);
  const box = input("text", "", tell, { ...list, "aria-describedby": hint.id });
  const draw = () => {
    chips.hidden = !added.length;
    chips.replaceChildren(...added.map(chip));
  };
  const chip = (value, index) => {
    const remove = button("×", "segment-remove-value", () => {
      added.splice(index, 1);
      draw();
      tell();
      box.focus();
    });
    remove.setAttribute("aria-label", `Remove ${asText(value)}`);
    return make("li", {}, make("bdi", { textContent: asText(value) }), remove);
  };
  const add = () => {
    added.push(...inBox());
    box.value = "";
    draw();
    tell();
  };
  box.addEventListener("input", (event) => {
    // Chosen from the suggestions.
    if (list && !TYPED.test(event.inputType ?? "")) add();
  });
  onEnter(box, add);
  draw();
  const field = labelled(label, box, hint);
  field.insertBefore(chips, box);
  return field;
}

// Choices of a closed list, the chosen ones first.
function boxesOf(name, choices, values, set) {
  const chosen = new Map(values.map((value) => [asText(value).toLowerCase(), value]));
  const all = new Map(choices.items.map(([value, title]) => [asText(value), [value, title]]));
  for (const [text, value] of chosen) {
    if (!all.has(text)) all.set(text, [value, `${text} (unknown)`]);
  }
  const sorted = [...all].sort(([one], [other]) => chosen.has(other) - chosen.has(one));
  const boxes = sorted.map(([text, [value, title]]) => {
    const box = make("input", { type: "checkbox", checked: chosen.has(text) });
    box.addEventListener("change", () => {
      if (box.checked) chosen.set(text, value);
      else chosen.delete(text);
      set([...chosen.values()]);
    });
    return make("label", {}, box, make("bdi", { textContent: title }));
  });
  const id = newId("label");
  const label = make("span", { id, className: "segment-label", textContent: name });
  const list = make("div", { className: "segment-boxes" }, ...boxes);
  if (!boxes.length) list.append("There is nothing to choose from.");
  const field = make("div", { className: "segment-field", role: "group" }, label);
  field.setAttribute("aria-labelledby", id);
  if (boxes.length > MANY) {
    const find = make("input", { type: "search", placeholder: "Find…", "aria-label": "Find" });
    find.addEventListener("input", () => {
      const wanted = find.value.toLowerCase();
      for (const box of boxes) box.hidden = !box.textContent.toLowerCase().includes(wanted);
    });
    onEnter(find, () => {});
    field.append(find);
  }
  field.append(list);
  return field;
}

// A date with an optional time. A time in another notation is edited as text.
function momentOf(label, value, set) {
  const parts = MOMENT.exec(asText(value));
  if (asText(value) && !parts) return labelled(label, input("text", value, set));
  const join = () => set(day.value && time.value ? `${day.value} ${time.value}` : day.value);
  const day = input("date", parts?.[1], join);
  const step = parts?.[2]?.length > 5 ? 1 : 60; // seconds only if the value has some
  const time = input("time", parts?.[2], join, { step, "aria-label": "Time" });
  return labelled(label, day, time);
}

// `choices` are those of the table for this field, if any; `list` is their datalist.
export function valueOf(label, type, choices, list, value, set) {
  const suggested = choices && !choices.closed ? { list } : undefined;
  if (SEVERAL.includes(type)) {
    const values = Array.isArray(value) ? value : asText(value) ? [value] : [];
    return choices?.closed
      ? boxesOf(label, choices, values, set)
      : listOf(label, values, set, suggested);
  }
  if (type === "status") {
    const chosen = asText(value).toLowerCase() || undefined;
    return selectOf(label, choices.items, chosen, set);
  }
  if (type === "date") return labelled(label, input("date", value, set));
  if (type === "date or time") return momentOf(label, value, set);
  if (NUMBERS.includes(type)) {
    const whole = { min: type === "hours" ? 1 : 0, step: 1 };
    const limits = type === "number" ? { step: "any" } : whole;
    return labelled(label, input("number", value, (text) => set(asNumber(text)), limits));
  }
  const convert = type === "text or number" ? asNumber : (text) => text;
  return labelled(label, input("text", value, (text) => set(convert(text)), suggested));
}
