// Draws steps from top to bottom, with their branches, and moves them.

import { button, make, newId, selectOf } from "../crm/segment-values.js";
import { conditionFields, fieldsOf, grid, happeningOf, waitOf } from "./builder-fields.js";

const BRANCHES = ["then", "else"];
const titles = (step) =>
  step.type === "if"
    ? { then: "If they match", else: "If not" }
    : { then: "If it happens", else: "If the time ends before" };

// `above` has the steps around this list: each with its list, its index and the branch below it.
export function stepsOf(context, steps, place, above) {
  const list = make("ol", { className: "automation-steps" });
  list.append(...steps.map((step, index) => stepOf(context, steps, index, place, above)));
  return make("div", {}, list, addOf(context, steps, place));
}

function addOf(context, steps, place) {
  const kinds = Object.entries(context.table.steps);
  let chosen = kinds[0][0];
  const options = kinds.map(([value, kind]) => [value, kind.label]);
  const choice = selectOf("New step", options, chosen, (value) => (chosen = value));
  const add = button("Add step", "segment-add", () => {
    const step = structuredClone(context.table.steps[chosen].new);
    context.fresh.add(step);
    context.open.add(step);
    steps.push(step);
    context.changed(true, `[data-at="${place}.${steps.length - 1}"] summary`);
  });
  return make("div", { className: "automation-add" }, choice, add);
}

function stepOf(context, steps, index, place, above) {
  const step = steps[index];
  const at = `${place}.${index}`;
  const kind = context.table.steps[step.type];
  const number = [...above.map(({ index: i, branch }) => `${i + 1} ${branch}`), index + 1].join(" ");
  const sentence = make("span", {
    className: "automation-sentence",
    textContent: kind?.label ?? `Unknown step ${step.type}`,
  });
  const summary = make(
    "summary",
    {},
    make("span", { className: "automation-number", textContent: number }),
    sentence,
  );
  const details = make("details", { open: context.open.has(step) }, summary);
  details.addEventListener("toggle", () => {
    if (details.open) context.open.add(step);
    else context.open.delete(step);
  });
  const mistake = context.lines(at, step, sentence);
  if (kind) details.append(...partsOf(context, kind, step));
  const parts = [details, mistake, buttonsOf(context, steps, index, place, above, number)];
  if (kind?.branches) {
    for (const branch of BRANCHES) {
      step[branch] ??= [];
      const heading = make("h3", { id: newId("branch"), textContent: titles(step)[branch] });
      const inside = [...above, { steps, index, branch }];
      const nested = stepsOf(context, step[branch], `${at}.${branch}`, inside);
      const box = make("div", { className: "automation-branch", role: "group" }, heading, nested);
      box.setAttribute("aria-labelledby", heading.id);
      parts.push(box);
    }
  }
  const item = make("li", { className: "automation-step" }, ...parts);
  item.dataset.at = at;
  item.setAttribute("aria-label", `Step ${number}`);
  return item;
}

function partsOf(context, kind, step) {
  const parts = [];
  if (kind.happens) {
    step.happens ??= { type: "event", event_key: "" };
    const { happenings } = context.table;
    const fields = happeningOf(context, "Until", happenings, step.happens, (next) => {
      step.happens = next;
      context.changed(true);
    });
    parts.push(grid(...fields));
  }
  if (kind.fields.length) parts.push(grid(...fieldsOf(context, kind.fields, step)));
  if (kind.wait) parts.push(waitOf(context, step, kind.wait, kind.happens));
  if (kind.conditions) {
    parts.push(conditionFields(context, step, "No condition yet: an if needs one."));
  }
  return parts;
}

function buttonsOf(context, steps, index, place, above, number) {
  const up = () => {
    const [step] = steps.splice(index, 1);
    const before = steps[index - 1];
    const outer = above.at(-1);
    if (before && hasBranches(context, before)) put(before.else, before.else.length, step);
    else if (before) put(steps, index - 1, step);
    else if (outer.branch === "else") {
      const { then } = outer.steps[outer.index];
      put(then, then.length, step);
    } else put(outer.steps, outer.index, step);
    moved(step, "up");
  };
  const down = () => {
    const [step] = steps.splice(index, 1);
    const after = steps[index];
    const outer = above.at(-1);
    if (after && hasBranches(context, after)) put(after.then, 0, step);
    else if (after) put(steps, index + 1, step);
    else if (outer.branch === "then") put(outer.steps[outer.index].else, 0, step);
    else put(outer.steps, outer.index + 1, step);
    moved(step, "down");
  };
  const put = (list, position, step) => list.splice(position, 0, step);
  // The step's own button keeps the focus, wherever the step is now.
  const moved = (step, way) => {
    context.changed(true);
    const found = [...context.places].find(([, part]) => part.owner === step);
    if (found) {
      const item = document.querySelector(`[data-at="${found[0]}"] > .segment-buttons`);
      (item.querySelector(`[data-way="${way}"]:enabled`) ?? item.querySelector("button")).focus();
    }
  };
  const remove = () => {
    steps.splice(index, 1);
    const next = `[data-at="${place}.${Math.min(index, steps.length - 1)}"] summary`;
    context.changed(true, steps.length ? next : ".automation-add select");
  };
  const named = (label, way, act, disabled) => {
    const element = button(label, "segment-remove", act);
    element.setAttribute("aria-label", `${label}: step ${number}`);
    element.dataset.way = way;
    element.disabled = disabled;
    return element;
  };
  return make(
    "p",
    { className: "segment-buttons" },
    named("Move up", "up", up, !index && !above.length),
    named("Move down", "down", down, index === steps.length - 1 && !above.length),
    named("Remove", "remove", remove, false),
  );
}

function hasBranches(context, step) {
  if (!context.table.steps[step.type]?.branches) return false;
  for (const branch of BRANCHES) step[branch] ??= [];
  return true;
}
