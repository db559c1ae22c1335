// The calibration page: points are set here, everything about them is computed by the server.

import { Pane } from "./pane.js";
import { drawFloor, drawPicture } from "./draw.js";

const $ = (id) => document.getElementById(id);
const state = {
  session: null, picture: null, plan: null, planSize: null, points: [], chosen: null, drawn: null, told: null,
  there: null, showGrid: true, showBefore: false,
};
let panes = null;
let asked = 0;
let timer = 0;
let hovering = null;
let busy = false;

const shown = (value, digits) => (value === null || value === undefined ? "–" : value.toFixed(digits));
const complete = (point) => point.image_px !== null && point.floor_m !== null;

async function ask(path, body) {
  const response = await fetch(path, body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
  const told = await response.json().catch(() => ({ error: `the server answered ${response.status}`, remedy: "" }));
  if (!response.ok) throw new Error(told.remedy ? `${told.error}; ${told.remedy}` : told.error);
  return told;
}

function image(path) {
  return new Promise((done) => {
    const loaded = new Image();
    loaded.onload = () => done(loaded);
    loaded.onerror = () => done(null);
    loaded.src = path;
  });
}

function draw() {
  if (!panes || !panes.picture.box || !panes.floor.box) return;
  drawPicture(panes.picture, state);
  drawFloor(panes.floor, state);
}

// --- points ------------------------------------------------------------------------------------------------------

function press(side, at) {
  const other = side === "image_px" ? "floor_m" : "image_px";
  let open = state.points.findIndex((point) => point[side] === null);
  if (open < 0) {
    open = state.points.findIndex((point) => point[other] === null);
    if (open < 0) open = state.points.push({ image_px: null, floor_m: null }) - 1;
  }
  state.points[open][side] = at;
  state.chosen = open;
  changed();
}

function grab(side, at, reach) {
  let best = null;
  state.points.forEach((point, k) => {
    if (!point[side]) return;
    const away = Math.hypot(point[side][0] - at[0], point[side][1] - at[1]);
    if (away <= reach && (best === null || away < best.away)) best = { k, away };
  });
  if (best === null) return null;
  state.chosen = best.k;
  rows();
  draw();
  return best.k;
}

function drag(side, k, at) {
  state.points[k][side] = at;
  changed();
}

function nudge(event) {
  const point = state.points[state.chosen];
  const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  const side = event.currentTarget.id === "picture" ? "image_px" : "floor_m";
  if (!point) return;
  if (event.key === "Delete" || event.key === "Backspace") return remove(state.chosen);
  if (!by || !point[side]) return;
  event.preventDefault();
  const size = (side === "image_px" ? 1 : 0.05) * (event.shiftKey ? 0.2 : 1);
  point[side] = [point[side][0] + by[0] * size, point[side][1] + by[1] * size * (side === "image_px" ? 1 : -1)];
  changed();
}

function remove(k) {
  state.points.splice(k, 1);
  state.chosen = null;
  changed();
}

function changed() {
  for (const point of state.points) Object.assign(point, { fitted_px: null, fitted_m: null });
  rows();
  draw();
  clearTimeout(timer);
  timer = setTimeout(fit, 120);
}

async function fit() {
  const whole = state.points.filter(complete);
  asked += 1;
  const number = asked;
  $("review").disabled = true;
  if (whole.length < 4) {
    Object.assign(state, { told: null, drawn: state.session.before && !state.points.length ? state.session.before : null });
    for (const point of state.points) delete point.used;
    fault("");
    return show();
  }
  const tolerance = Number($("tolerance").value);
  try {
    const told = await ask("/fit", {
      points: whole.map(({ image_px, floor_m }) => ({ image_px, floor_m })),
      method: $("method").value, tolerance_px: tolerance > 0 ? tolerance : null,
    });
    if (number !== asked) return undefined;
    told.points.forEach((one, k) => Object.assign(whole[k], one));
    Object.assign(state, { told, drawn: told.drawn });
    $("review").disabled = false;
    fault("");
  } catch (error) {
    if (number !== asked) return undefined;
    Object.assign(state, { told: null, drawn: null });
    for (const point of state.points) delete point.used;
    fault(error.message);
  }
  return show();
}

// --- what is said ------------------------------------------------------------------------------------------------

function fault(text) {
  $("error").textContent = text;
  $("error").hidden = !text;
}

function hint() {
  const count = state.points.filter(complete).length;
  const open = state.points.find((point) => !complete(point));
  if (open) return open.image_px ? "Now click the same mark on the floor" : "Now click the same mark in the picture";
  if (count < 4) return `${4 - count} more ${count === 3 ? "pair" : "pairs"} needed`;
  if (!state.told) return "";
  if (count === 4) return "four pairs always agree; give more";
  const left = count - state.told.used;
  return left ? `${state.told.used} pairs agree, ${left} left out` : `all ${count} pairs agree`;
}

function sums(into, which, row) {
  into.replaceChildren(...[which, row.kind, shown(row.rms_px, 2), shown(row.worst_px, 2), shown(row.rms_m, 3), shown(row.worst_m, 3)]
    .map((text) => Object.assign(document.createElement("dd"), { textContent: text })));
}

function show() {
  $("hint").textContent = hint();
  $("sums").hidden = !state.told;
  $("notes").replaceChildren(...(state.told?.notes ?? []).map((text) => Object.assign(document.createElement("li"), { textContent: text })));
  if (state.told) {
    sums($("sum-before"), "before", state.told.before);
    sums($("sum-after"), "after", state.told.after);
  }
  $("step").textContent = state.drawn ? `${state.drawn.step_m} m` : "";
  rows();
  draw();
}

function cell(row, text) {
  row.append(Object.assign(document.createElement("td"), { textContent: text }));
}

function number(row, point, side, axis, digits, name) {
  const input = Object.assign(document.createElement("input"), {
    type: "number", step: "any", value: point[side] ? Number(point[side][axis].toFixed(digits)) : "", ariaLabel: name,
  });
  input.addEventListener("change", () => {
    const value = input.valueAsNumber;
    if (!Number.isFinite(value)) return rows();
    const before = point[side] ?? [0, 0];
    point[side] = before.map((each, k) => (k === axis ? value : each));
    return changed();
  });
  const data = document.createElement("td");
  data.append(input);
  row.append(data);
}

function rows() {
  if ($("rows").contains(document.activeElement) && document.activeElement.tagName === "INPUT" && document.activeElement.dataset.typing) return;
  $("count").textContent = state.points.length ? String(state.points.length) : "";
  $("empty").hidden = state.points.length > 0;
  $("hint").textContent = hint();
  $("rows").replaceChildren(...state.points.map((point, k) => {
    const row = document.createElement("tr");
    row.classList.toggle("chosen", state.chosen === k);
    row.classList.toggle("out", point.used === false);
    const name = Object.assign(document.createElement("button"), { type: "button", className: "number", textContent: k + 1, title: point.used === false ? "left out" : "choose" });
    name.addEventListener("click", () => { state.chosen = k; rows(); draw(); });
    const first = document.createElement("td");
    first.append(name);
    row.append(first);
    number(row, point, "image_px", 0, 1, `point ${k + 1}: pixel across`);
    number(row, point, "image_px", 1, 1, `point ${k + 1}: pixel down`);
    number(row, point, "floor_m", 0, 3, `point ${k + 1}: x in metres`);
    number(row, point, "floor_m", 1, 3, `point ${k + 1}: y in metres`);
    cell(row, shown(point.after_px, 2));
    cell(row, shown(point.after_m, 3));
    cell(row, shown(point.ellipse?.long_m, 2));
    const gone = Object.assign(document.createElement("button"), { type: "button", textContent: "✕", ariaLabel: `remove point ${k + 1}` });
    gone.addEventListener("click", () => remove(k));
    const last = document.createElement("td");
    last.append(gone);
    row.append(last);
    return row;
  }));
}

// --- the place under the pointer ---------------------------------------------------------------------------------

async function hover(from, at) {
  hovering = at && { from, at };
  if (!at) {
    state.there = null;
    for (const side of ["picture-at", "floor-at"]) $(side).textContent = "";
    return draw();
  }
  $(from === "picture" ? "picture-at" : "floor-at").textContent = from === "picture" ? `${at[0].toFixed(0)}, ${at[1].toFixed(0)} px` : `${at[0].toFixed(2)}, ${at[1].toFixed(2)} m`;
  if (busy || !state.drawn) return undefined;
  busy = true;
  try {
    const told = await ask("/place", from === "picture" ? { image_px: at } : { floor_m: at });
    state.there = hovering && { from, ...told };
    if (from === "picture" && state.there) {
      const around = told.ellipse ? `, 95 % within ${shown(told.ellipse.long_m, 2)} × ${shown(told.ellipse.short_m, 2)} m` : "";
      $("picture-at").textContent = told.floor_m ? `${at[0].toFixed(0)}, ${at[1].toFixed(0)} px → ${shown(told.floor_m[0], 2)}, ${shown(told.floor_m[1], 2)} m${around}` : "above the horizon";
    }
  } catch {
    state.there = null;
  } finally {
    busy = false;
  }
  return draw();
}

// --- saving ------------------------------------------------------------------------------------------------------

async function review() {
  try {
    const told = await ask("/preview", {});
    $("dialog-file").textContent = told.file;
    const head = document.createElement("div");
    head.append(...["", "calibration", "rms px", "worst px", "rms m", "worst m"].map((text) => Object.assign(document.createElement("dt"), { textContent: text })));
    const [before, after] = ["before", "after"].map((which) => {
      const row = Object.assign(document.createElement("div"), { className: which });
      sums(row, which, state.told[which]);
      return row;
    });
    $("dialog-sums").replaceChildren(head, before, after);
    $("difference").replaceChildren(...(told.difference || "nothing: the file says this already").split("\n").map((text) => Object.assign(document.createElement("span"), {
      textContent: text, className: text.startsWith("+") ? "plus" : text.startsWith("-") ? "minus" : text.startsWith("@") ? "at-line" : "",
    })));
    $("dialog-error").hidden = true;
    $("save").onclick = () => save(told);
    $("dialog").showModal();
  } catch (error) {
    fault(error.message);
  }
}

async function save({ draft, seen }) {
  try {
    const told = await ask("/save", { draft, seen });
    $("dialog").close();
    state.session.calibration = told.calibration;
    state.session.before = state.drawn;
    await fit();
    $("hint").textContent = `saved in ${told.saved}`;
  } catch (error) {
    $("dialog-error").textContent = error.message;
    $("dialog-error").hidden = false;
  }
}

// --- start -------------------------------------------------------------------------------------------------------

function floorBox() {
  const { floor, before } = state.session;
  if (floor.size_m || state.planSize) {
    const size = floor.size_m ?? state.planSize;
    const margin = 0.08 * Math.max(...size);
    return [floor.origin_m[0] - margin, floor.origin_m[1] - margin, floor.origin_m[0] + size[0] + margin, floor.origin_m[1] + size[1] + margin];
  }
  const known = [...state.points.map((point) => point.floor_m), ...(before?.footprint_m ?? []), ...floor.zones.flat()];
  if (!known.length) return [-2, -2, 18, 14];
  const [xs, ys] = [known.map(([x]) => x), known.map(([, y]) => y)];
  const margin = 2 + 0.1 * Math.max(Math.max(...xs) - Math.min(...xs), Math.max(...ys) - Math.min(...ys));
  return [Math.min(...xs) - margin, Math.min(...ys) - margin, Math.max(...xs) + margin, Math.max(...ys) + margin];
}

async function start() {
  state.session = await ask("/session");
  const { session } = state;
  [state.picture, state.plan] = await Promise.all([image("/picture"), session.floor.plan ? image("/plan") : null]);
  if (state.plan) {
    const scale = session.floor.metres_per_pixel;
    state.planSize = scale ? [state.plan.naturalWidth * scale, state.plan.naturalHeight * scale] : session.floor.size_m;
  }
  state.points = session.points.map((point) => ({ ...point }));
  state.drawn = session.before;
  $("camera").textContent = session.camera;
  $("site").textContent = `${session.site}, now ${session.calibration === "none" ? "not calibrated" : session.calibration}`;
  $("tolerance").value = session.tolerance_px.toFixed(1);
  $("before-label").hidden = !session.before;
  $("method").querySelector("[value=pose]").disabled = !session.lens;
  document.documentElement.style.setProperty("--aspect", `${session.size_px[0]} / ${session.size_px[1]}`);
  const side = (name) => ({
    press: (at) => press(name, at), grab: (at, reach) => grab(name, at, reach), drag: (k, at) => drag(name, k, at),
    hover: (at) => hover(name === "image_px" ? "picture" : "floor", at), draw,
  });
  panes = {
    picture: new Pane($("picture"), { tell: side("image_px") }),
    floor: new Pane($("floor"), { flip: true, tell: side("floor_m") }),
  };
  for (const pane of Object.values(panes)) pane.resize();
  panes.picture.frame([0, 0, ...session.size_px]);
  panes.floor.frame(floorBox());
  for (const canvas of [$("picture"), $("floor")]) canvas.addEventListener("keydown", nudge);
  for (const button of document.querySelectorAll("[data-zoom]")) {
    const [pane, way] = button.dataset.zoom.split("-");
    button.addEventListener("click", () => panes[pane].zoom(way === "in" ? 1.5 : 1 / 1.5));
  }
  $("show-grid").addEventListener("change", (event) => { state.showGrid = event.target.checked; draw(); });
  $("show-before").addEventListener("change", (event) => { state.showBefore = event.target.checked; draw(); });
  for (const id of ["method", "tolerance"]) $(id).addEventListener("change", fit);
  $("review").addEventListener("click", review);
  $("cancel").addEventListener("click", () => $("dialog").close());
  $("rows").addEventListener("input", (event) => { event.target.dataset.typing = "1"; });
  $("rows").addEventListener("focusout", (event) => { delete event.target.dataset.typing; });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  show();
  await fit();
  document.documentElement.dataset.ready = "1";
}

start().catch((error) => { $("hint").textContent = `the page could not start: ${error.message}`; });
