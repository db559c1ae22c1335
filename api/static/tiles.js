// Camera tiles: the newest picture with the boxes that belong to that very picture, drawn here.

import { personColour } from "./colours.js";
import { pictureKey } from "./world.js";

const PICTURE_EVERY_MS = 200;
const BOXES_WAIT_MS = 500;

const GROW = '<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M9.5 2H14v4.5M14 2 9 7M6.5 14H2V9.5M2 14l5-5"/></svg>';

export class Tiles {
  #tiles = new Map();

  constructor(holder, world, { onSelect }) {
    this.holder = holder;
    this.world = world;
    this.onSelect = onSelect;
    this.seen = new IntersectionObserver((entries) => {
      for (const entry of entries) entry.target.tile.visible = entry.isIntersecting;
    }, { rootMargin: "80px" });
    this.sizes = new ResizeObserver((entries) => { for (const entry of entries) entry.target.tile.paint(); });
    setInterval(() => this.#fetchDue(), 40);
  }

  /** Bring the tiles in line with the cameras there are; health texts included. */
  refresh() {
    for (const name of this.world.cameras.keys()) {
      if (!this.#tiles.has(name)) this.#add(name);
      this.#tiles.get(name).describe();
    }
  }

  redraw() {
    for (const tile of this.#tiles.values()) tile.paint();
  }

  #add(name) {
    const tile = new Tile(name, this.world, this.onSelect);
    this.#tiles.set(name, tile);
    this.holder.append(tile.element);
    this.seen.observe(tile.element);
    this.sizes.observe(tile.element);
  }

  #fetchDue() {
    if (document.hidden) return;
    const now = performance.now();
    for (const tile of this.#tiles.values()) if (tile.due(now)) tile.fetch(now);
  }
}

class Tile {
  #bitmap = null;
  #boxes = null;
  #shownAt = 0;
  #asked = -Infinity;
  #busy = false;

  constructor(name, world, onSelect) {
    this.name = name;
    this.world = world;
    this.visible = false;
    this.element = document.createElement("figure");
    this.element.className = "tile";
    this.element.tile = this;
    this.element.innerHTML = `<div class="view"><canvas role="img"></canvas><p class="say" hidden></p>
      <p class="tag"><span class="light" aria-hidden="true"></span><span class="name"></span></p>
      <button type="button" class="grow" aria-pressed="false">${GROW}</button></div>
      <figcaption class="health"></figcaption>`;
    this.canvas = this.element.querySelector("canvas");
    this.say = this.element.querySelector(".say");
    this.health = this.element.querySelector(".health");
    this.element.querySelector(".name").textContent = name;
    const grow = this.element.querySelector(".grow");
    grow.setAttribute("aria-label", `Enlarge camera ${name}`);
    grow.addEventListener("click", () => {
      grow.setAttribute("aria-pressed", String(this.element.classList.toggle("large")));
    });
    this.canvas.addEventListener("click", (event) => onSelect(this.#personAt(event.offsetX, event.offsetY)));
    this.#shape([4, 3]);
  }

  // --- the picture --------------------------------------------------------------------------------------------

  due(now) {
    if (!this.visible || this.#busy || now - this.#asked < PICTURE_EVERY_MS) return false;
    const camera = this.world.cameras.get(this.name);
    const newest = camera.latest ?? (this.#bitmap ? null : camera.health);
    return Boolean(newest?.has_picture && newest.at > this.#shownAt);
  }

  async fetch(now) {
    this.#asked = now;
    this.#busy = true;
    try {
      const response = await fetch(`/api/v1/cameras/${encodeURIComponent(this.name)}/picture`, { cache: "no-store" });
      if (!response.ok) return;
      const [frame, at] = [Number(response.headers.get("X-Frame")), Number(response.headers.get("X-At"))];
      if (at === this.#shownAt) return;
      const bitmap = await createImageBitmap(await response.blob());
      this.#boxes = await this.#boxesOf(pictureKey(frame, at));
      this.#bitmap?.close();
      this.#bitmap = bitmap;
      this.#shownAt = at;
      this.#shape([bitmap.width, bitmap.height]);
      this.paint();
    } catch {
      // the connection state says what is wrong; the next picture is asked for when data flows again
    } finally {
      this.#busy = false;
    }
  }

  // The picture may overtake its boxes: they come over the socket.
  async #boxesOf(key) {
    const boxes = this.world.cameras.get(this.name).boxes;
    const until = performance.now() + BOXES_WAIT_MS;
    while (!boxes.has(key) && performance.now() < until) await new Promise((done) => setTimeout(done, 15));
    return boxes.get(key) ?? null;
  }

  #shape([width, height]) {
    this.element.querySelector(".view").style.aspectRatio = `${width} / ${height}`;
  }

  // --- drawing ------------------------------------------------------------------------------------------------

  paint() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !this.#bitmap) return;
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    const paint = this.canvas.getContext("2d");
    paint.scale(ratio, ratio);
    paint.imageSmoothingQuality = "high";
    paint.drawImage(this.#bitmap, 0, 0, width, height);
    const boxes = this.#placed();
    for (const box of boxes) this.#paintBox(paint, box);
    for (const box of boxes) this.#paintLabel(paint, box);
    this.canvas.dataset.boxes = String(boxes.length);
    this.canvas.setAttribute("aria-label", `Camera ${this.name}: ${people(boxes.length)} in the picture`);
  }

  #placed() {
    if (!this.#boxes) return [];
    const [sx, sy] = [this.canvas.clientWidth / this.#boxes.size_px[0], this.canvas.clientHeight / this.#boxes.size_px[1]];
    return this.#boxes.boxes.map((box) => {
      const [left, top, width, height] = box.box_px;
      const person = this.world.personOf(this.name, box);
      const number = this.world.numberOf(this.name, box);
      return { x: left * sx, y: top * sy, w: width * sx, h: height * sy, person, number };
    });
  }

  #paintBox(paint, box) {
    const selected = this.world.selected;
    const chosen = selected && box.person === selected;
    paint.globalAlpha = selected && !chosen ? 0.35 : 1;
    paint.lineJoin = "round";
    paint.setLineDash(box.number == null ? [4, 3] : []);
    paint.strokeStyle = "rgb(5 8 12 / .6)";
    paint.lineWidth = chosen ? 5 : 3.5;
    paint.strokeRect(box.x, box.y, box.w, box.h);
    paint.strokeStyle = personColour(box.number);
    paint.lineWidth = chosen ? 3 : 1.75;
    paint.strokeRect(box.x, box.y, box.w, box.h);
    paint.setLineDash([]);
    paint.globalAlpha = 1;
  }

  #paintLabel(paint, box) {
    if (box.number == null) return;
    const selected = this.world.selected;
    paint.globalAlpha = selected && box.person !== selected ? 0.35 : 1;
    paint.font = "700 11px system-ui, 'Segoe UI', 'Liberation Sans', sans-serif";
    const width = paint.measureText(String(box.number)).width + 8;
    const x = Math.max(0, Math.min(this.canvas.clientWidth - width, box.x - 1));
    const y = Math.max(0, box.y - 15);
    paint.fillStyle = personColour(box.number);
    paint.beginPath();
    paint.roundRect(x, y, width, 15, 3);
    paint.fill();
    paint.fillStyle = "#0b0f13";
    paint.textAlign = "center";
    paint.textBaseline = "middle";
    paint.fillText(String(box.number), x + width / 2, y + 8);
    paint.globalAlpha = 1;
  }

  #personAt(x, y) {
    const hits = this.#placed().filter((box) => box.person && x >= box.x && x <= box.x + box.w && y >= box.y - 15 && y <= box.y + box.h);
    hits.sort((a, b) => a.w * a.h - b.w * b.h);
    return hits[0]?.person ?? null;
  }

  // --- words --------------------------------------------------------------------------------------------------

  describe() {
    const camera = this.world.cameras.get(this.name);
    const health = camera.health;
    if (!health) return;
    this.element.dataset.status = health.status;
    const fps = health.fps == null ? "– fps" : `${health.fps.toFixed(1)} fps`;
    this.health.replaceChildren();
    if (health.status === "online") this.health.append(word(fps, "strong"), word(people(health.people)));
    else this.health.append(word(health.status, "strong"));
    this.health.append(word(`${health.frames_skipped} skipped`, health.frames_skipped ? "warn" : ""));
    this.health.title = `${this.name}: ${health.status}${health.detector ? `, detector ${health.detector}` : ""}`;
    const words = this.#words(health);
    this.say.hidden = !words;
    this.say.textContent = words;
  }

  #words(health) {
    if (health.status === "offline") return `Offline${health.reason ? `: ${health.reason}` : ""}. It is tried again by itself.`;
    if (health.status === "ended") return "The video was read to its end.";
    if (health.status === "waiting") return "No picture yet. If it stays so, check this camera’s source in the site file.";
    return this.#bitmap || health.has_picture ? "" : "Online; waiting for the first picture.";
  }
}

export function people(count) {
  return count === 1 ? "1 person" : `${count} people`;
}

function word(text, name = "") {
  const element = document.createElement("span");
  element.textContent = text;
  element.className = name;
  return element;
}
