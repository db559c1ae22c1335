// The floor map: a still layer (plan, zones, camera fields) under people who move.

import { personColour, themeColours } from "./colours.js";

const PADDING_PX = 26;
const FRAME_MS = 30;
const CATCH_UP_S = 0.09;
const LOOK_AHEAD_S = 0.35;
const SCALE_BAR_PX = 26;

export class FloorMap {
  #still = document.createElement("canvas");
  #view = null;
  #bounds = null;
  #theme = themeColours();
  #last = 0;
  #labels = [];

  constructor(canvas, world, { onSelect }) {
    this.canvas = canvas;
    this.world = world;
    this.site = null;
    this.plan = null;
    this.trajectory = null;
    this.handoffs = false;
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    canvas.addEventListener("click", (event) => onSelect(this.#personAt(event.offsetX, event.offsetY)));
    new ResizeObserver(() => this.#layout()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#layout());
    requestAnimationFrame((now) => this.#tick(now));
  }

  /** Take the site in; loads its plan picture. */
  async show(site) {
    this.site = site;
    this.plan = null;
    if (site.floor.plan) {
      const picture = new Image();
      picture.src = site.floor.plan;
      try {
        await picture.decode();
        this.plan = picture;
      } catch {
        this.plan = null;
      }
    }
    this.#layout();
  }

  redraw() {
    this.#layout();
  }

  // --- where things are ---------------------------------------------------------------------------------------

  #floorBox() {
    const floor = this.site?.floor;
    const [x, y] = floor?.origin_m ?? [0, 0];
    if (floor?.size_m) return { x, y, w: floor.size_m[0], h: floor.size_m[1] };
    if (this.plan && floor.metres_per_pixel) {
      const scale = floor.metres_per_pixel;
      return { x, y, w: this.plan.naturalWidth * scale, h: this.plan.naturalHeight * scale };
    }
    return null;
  }

  #extent() {
    const floor = this.#floorBox();
    const points = [];
    for (const camera of this.site?.cameras ?? []) {
      if (camera.position_m) points.push(camera.position_m);
      if (!floor && camera.field_m) points.push(...camera.field_m);
    }
    for (const zone of this.site?.zones ?? []) points.push(...zone.polygon_m);
    if (!floor) for (const one of this.world.persons.values()) points.push([one.x_m, one.y_m]);
    let low = floor ? [floor.x, floor.y] : [Infinity, Infinity];
    let high = floor ? [floor.x + floor.w, floor.y + floor.h] : [-Infinity, -Infinity];
    const slack = floor ? 0.2 * Math.max(floor.w, floor.h) : Infinity;
    for (const [x, y] of points) {
      if (floor && (x < floor.x - slack || y < floor.y - slack)) continue;
      if (floor && (x > floor.x + floor.w + slack || y > floor.y + floor.h + slack)) continue;
      low = [Math.min(low[0], x), Math.min(low[1], y)];
      high = [Math.max(high[0], x), Math.max(high[1], y)];
    }
    if (!Number.isFinite(low[0])) return { x: 0, y: 0, w: 16, h: 12 };
    return { x: low[0], y: low[1], w: Math.max(2, high[0] - low[0]), h: Math.max(2, high[1] - low[1]) };
  }

  #layout() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    this.#theme = themeColours();
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    const box = (this.#bounds = this.#extent());
    this.canvas.parentElement.style.setProperty("--floor-aspect", `${box.w + 1} / ${box.h + 1 + box.w / 14}`);
    const padding = Math.min(PADDING_PX, width / 16);
    const free = height - SCALE_BAR_PX;
    const scale = Math.min((width - 2 * padding) / box.w, (free - 2 * padding) / box.h);
    this.#view = {
      width, height, ratio, scale,
      radius: width < 500 ? 8.5 : 10,
      left: (width - box.w * scale) / 2 - box.x * scale,
      bottom: (free + box.h * scale) / 2 + box.y * scale,
    };
    for (const canvas of [this.canvas, this.#still]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    this.#paintStill();
    this.#paint(0);
  }

  #px([x, y]) {
    return [this.#view.left + x * this.#view.scale, this.#view.bottom - y * this.#view.scale];
  }

  #personAt(x, y) {
    let best = null;
    let nearest = 22;
    for (const one of this.world.present()) {
      const [u, v] = this.#px([one.shown.x, one.shown.y]);
      const distance = Math.hypot(u - x, v - y);
      if (distance < nearest) [best, nearest] = [one.person, distance];
    }
    return best;
  }

  // --- the still layer ----------------------------------------------------------------------------------------

  #paintStill() {
    const paint = this.#start(this.#still);
    this.#labels = [];
    const floor = this.#floorBox() ?? this.#bounds;
    const [left, top] = this.#px([floor.x, floor.y + floor.h]);
    const [width, height] = [floor.w * this.#view.scale, floor.h * this.#view.scale];
    paint.fillStyle = this.#theme.floor;
    paint.fillRect(left, top, width, height);
    if (this.plan) {
      paint.globalAlpha = this.#theme.planAlpha;
      paint.drawImage(this.plan, left, top, width, height);
      paint.globalAlpha = 1;
    } else {
      this.#paintGrid(paint, floor);
    }
    paint.save();
    paint.beginPath();
    paint.rect(left, top, width, height);
    paint.clip();
    for (const camera of this.site?.cameras ?? []) this.#paintField(paint, camera);
    if (this.handoffs) for (const zone of this.site?.handoffs ?? []) this.#paintHandoff(paint, zone);
    paint.restore();
    this.canvas.dataset.handoffs = this.handoffs ? this.site?.handoffs?.length ?? 0 : 0;
    paint.strokeStyle = this.#theme.edge;
    paint.lineWidth = 1.5;
    paint.strokeRect(left, top, width, height);
    for (const camera of this.site?.cameras ?? []) this.#paintCamera(paint, camera);
    for (const zone of this.site?.zones ?? []) this.#paintZone(paint, zone);
    this.#paintScale(paint);
  }

  #paintGrid(paint, floor) {
    const step = this.#view.scale > 14 ? 1 : 5;
    paint.strokeStyle = this.#theme.grid;
    paint.lineWidth = 1;
    paint.beginPath();
    for (let x = Math.ceil(floor.x / step) * step; x <= floor.x + floor.w; x += step) {
      paint.moveTo(...this.#px([x, floor.y]));
      paint.lineTo(...this.#px([x, floor.y + floor.h]));
    }
    for (let y = Math.ceil(floor.y / step) * step; y <= floor.y + floor.h; y += step) {
      paint.moveTo(...this.#px([floor.x, y]));
      paint.lineTo(...this.#px([floor.x + floor.w, y]));
    }
    paint.stroke();
  }

  #polygon(paint, points) {
    paint.beginPath();
    points.forEach((point, index) => (index ? paint.lineTo(...this.#px(point)) : paint.moveTo(...this.#px(point))));
    paint.closePath();
  }

  #paintField(paint, camera) {
    if (!camera.field_m) return;
    this.#polygon(paint, camera.field_m);
    paint.globalAlpha = 0.055;
    paint.fillStyle = this.#theme.accent;
    paint.fill();
    paint.globalAlpha = 0.35;
    paint.strokeStyle = this.#theme.accent;
    paint.lineWidth = 1;
    paint.stroke();
    paint.globalAlpha = 1;
  }

  // Where two cameras see the same floor, and where one is left for another across floor that nobody sees.
  #paintHandoff(paint, zone) {
    this.#polygon(paint, zone.polygon_m);
    paint.globalAlpha = zone.gap_m > 0 ? 0.3 : 0.08;
    paint.fillStyle = this.#theme.good;
    paint.fill();
    paint.globalAlpha = zone.gap_m > 0 ? 1 : 0.7;
    paint.strokeStyle = this.#theme.good;
    paint.lineWidth = 1.5;
    paint.setLineDash(zone.gap_m > 0 ? [] : [2, 3]);
    paint.stroke();
    paint.setLineDash([]);
    paint.globalAlpha = 1;
    // On a phone the names would hide the map.
    if (zone.gap_m > 0 && this.#view.width >= 500) {
      const [u, v] = this.#px(middle(zone.polygon_m));
      this.#label(paint, `to ${zone.to_camera}`, u, v, { colour: this.#theme.text, align: "center", base: "middle" });
    }
  }

  #paintZone(paint, zone) {
    this.#polygon(paint, zone.polygon_m);
    paint.strokeStyle = this.#theme.warn;
    paint.lineWidth = 1.5;
    paint.setLineDash([6, 5]);
    paint.stroke();
    paint.setLineDash([]);
    const left = Math.min(...zone.polygon_m.map(([x]) => x));
    const top = Math.max(...zone.polygon_m.map(([, y]) => y));
    const [u, v] = this.#px([left, top]);
    this.#label(paint, zone.name, u + 6, v + 6, { colour: this.#theme.warn, align: "left", base: "top" });
  }

  #paintCamera(paint, camera) {
    if (!camera.position_m) return;
    const [u, v] = this.#px(camera.position_m);
    const aim = camera.field_m ? middle(camera.field_m) : middle([[this.#bounds.x + this.#bounds.w / 2, this.#bounds.y + this.#bounds.h / 2]]);
    const [a, b] = this.#px(aim);
    const angle = Math.atan2(b - v, a - u);
    paint.save();
    paint.translate(u, v);
    paint.rotate(angle);
    paint.fillStyle = this.#theme.accent;
    paint.strokeStyle = this.#theme.ground;
    paint.lineWidth = 2;
    paint.beginPath();
    paint.moveTo(2, -3);
    paint.lineTo(10, -7);
    paint.lineTo(10, 7);
    paint.lineTo(2, 3);
    paint.closePath();
    paint.roundRect(-9, -5.5, 13, 11, 2.5);
    paint.stroke();
    paint.fill();
    paint.restore();
    const below = Math.sin(angle) < 0;
    const wide = this.#view.width;
    const align = u < 60 ? "left" : u > wide - 60 ? "right" : "center";
    const shift = align === "left" ? -8 : align === "right" ? 8 : 0;
    const base = below ? (v > this.#view.height - 26 ? "bottom" : "top") : v < 26 ? "top" : "bottom";
    this.#label(paint, camera.name, u + shift, base === "top" ? v + 12 : v - 12, { colour: this.#theme.text, align, base });
  }

  // A label that would lie on another one is left out: on a small map the places matter more than their names.
  #label(paint, text, x, y, { colour, align, base }) {
    paint.font = "600 12px system-ui, 'Segoe UI', 'Liberation Sans', sans-serif";
    const width = paint.measureText(text).width;
    if (align === "left") x = Math.max(4, Math.min(x, this.#view.width - width - 4));
    const left = x - { left: 0, center: width / 2, right: width }[align];
    const top = y - { top: 0, middle: 7, bottom: 14 }[base];
    if (this.#labels.some((other) => left < other.right && left + width > other.left && top < other.bottom && top + 14 > other.top)) return;
    this.#labels.push({ left, right: left + width, top, bottom: top + 14 });
    paint.textAlign = align;
    paint.textBaseline = base;
    paint.lineJoin = "round";
    paint.lineWidth = 4;
    paint.strokeStyle = this.#theme.floor;
    paint.strokeText(text, x, y);
    paint.fillStyle = colour;
    paint.fillText(text, x, y);
  }

  #paintScale(paint) {
    const metres = [1, 2, 5, 10, 20, 50].find((length) => length * this.#view.scale >= 60) ?? 100;
    const [x, y] = [14, this.#view.height - 9];
    const length = metres * this.#view.scale;
    paint.strokeStyle = this.#theme.muted;
    paint.lineWidth = 1.5;
    paint.beginPath();
    paint.moveTo(x, y - 5);
    paint.lineTo(x, y);
    paint.lineTo(x + length, y);
    paint.lineTo(x + length, y - 5);
    paint.stroke();
    paint.font = "11px system-ui, 'Segoe UI', 'Liberation Sans', sans-serif";
    paint.textAlign = "left";
    paint.textBaseline = "bottom";
    paint.fillStyle = this.#theme.muted;
    paint.fillText(`${metres} m`, x + 5, y - 3);
  }

  #start(canvas) {
    const paint = canvas.getContext("2d");
    paint.setTransform(this.#view.ratio, 0, 0, this.#view.ratio, 0, 0);
    paint.clearRect(0, 0, this.#view.width, this.#view.height);
    return paint;
  }

  // --- people -------------------------------------------------------------------------------------------------

  #tick(now) {
    if (now - this.#last >= FRAME_MS && this.#view) {
      const passed = Math.min(0.25, (now - this.#last) / 1000);
      this.#last = now;
      this.#paint(passed);
    }
    requestAnimationFrame((next) => this.#tick(next));
  }

  #paint(passed) {
    const paint = this.#start(this.canvas);
    paint.drawImage(this.#still, 0, 0, this.#view.width, this.#view.height);
    const people = this.world.present();
    for (const one of people) this.#advance(one, passed);
    const selected = this.world.selected;
    if (this.trajectory?.person === selected) this.#paintTrajectory(paint);
    for (const one of people) this.#paintTrail(paint, one, selected && one.person !== selected);
    people.sort((a, b) => (a.person === selected) - (b.person === selected));
    for (const one of people) this.#paintPerson(paint, one, selected && one.person !== selected);
  }

  // Where they are by now, approached exponentially: no jump at a new measurement, no added delay.
  #advance(one, passed) {
    const ahead = this.calm.matches ? 0 : Math.min(LOOK_AHEAD_S, (performance.now() - one.received) / 1000);
    const [x, y] = [one.x_m + one.vx_m_s * ahead, one.y_m + one.vy_m_s * ahead];
    const far = Math.hypot(x - one.shown.x, y - one.shown.y) > 2;
    const part = far || this.calm.matches ? 1 : 1 - Math.exp(-passed / CATCH_UP_S);
    one.shown.x += (x - one.shown.x) * part;
    one.shown.y += (y - one.shown.y) * part;
  }

  #paintTrail(paint, one, dimmed) {
    const points = one.trail.map(([, x, y]) => this.#px([x, y]));
    if (points.length < 2) return;
    points[points.length - 1] = this.#px([one.shown.x, one.shown.y]);
    paint.lineWidth = 2.5;
    paint.lineCap = "round";
    paint.lineJoin = "round";
    const pieces = 8;
    for (let piece = 0; piece < pieces; piece += 1) {
      const begin = Math.floor((piece * (points.length - 1)) / pieces);
      const end = Math.floor(((piece + 1) * (points.length - 1)) / pieces);
      if (end <= begin) continue;
      paint.strokeStyle = personColour(one.number, (dimmed ? 0.15 : 0.8) * ((piece + 1) / pieces) ** 1.4, this.#theme.darker);
      paint.beginPath();
      paint.moveTo(...points[begin]);
      for (let index = begin + 1; index <= end; index += 1) paint.lineTo(...points[index]);
      paint.stroke();
    }
  }

  #paintTrajectory(paint) {
    const { points, number } = this.trajectory;
    if (points.length < 2) return;
    paint.strokeStyle = personColour(number, 0.9, this.#theme.darker);
    paint.lineWidth = 1.5;
    paint.setLineDash([2, 4]);
    paint.beginPath();
    points.forEach(({ at, x_m: x, y_m: y }, index) => {
      const gap = index && at - points[index - 1].at > 2e6;
      if (!index || gap) paint.moveTo(...this.#px([x, y]));
      else paint.lineTo(...this.#px([x, y]));
    });
    paint.stroke();
    paint.setLineDash([]);
  }

  #paintPerson(paint, one, dimmed) {
    const [u, v] = this.#px([one.shown.x, one.shown.y]);
    const predicted = !one.seen.length || this.world.newestAt - one.at > 1.5e6;
    paint.globalAlpha = dimmed ? 0.3 : 1;
    this.#paintSpread(paint, one, u, v);
    const speed = Math.hypot(one.vx_m_s, one.vy_m_s);
    const radius = this.#view.radius;
    if (speed > 0.15) {
      const reach = radius + Math.min(34, speed * this.#view.scale * 0.6);
      const [du, dv] = [one.vx_m_s / speed, -one.vy_m_s / speed];
      paint.strokeStyle = personColour(one.number, 1, this.#theme.darker);
      paint.lineWidth = 3;
      paint.lineCap = "round";
      paint.beginPath();
      paint.moveTo(u + du * radius, v + dv * radius);
      paint.lineTo(u + du * reach, v + dv * reach);
      paint.stroke();
    }
    const text = String(one.number);
    paint.font = "700 11px system-ui, 'Segoe UI', 'Liberation Sans', sans-serif";
    const half = Math.max(radius, paint.measureText(text).width / 2 + 4);
    paint.beginPath();
    paint.roundRect(u - half, v - radius, 2 * half, 2 * radius, radius);
    paint.fillStyle = predicted ? this.#theme.floor : personColour(one.number);
    paint.fill();
    paint.lineWidth = one.person === this.world.selected ? 3 : predicted ? 2 : 1.5;
    paint.setLineDash(predicted ? [2, 2.5] : []);
    paint.strokeStyle = one.person === this.world.selected ? this.#theme.text
      : predicted ? personColour(one.number, 1, this.#theme.darker) : "rgb(11 15 19 / .65)";
    paint.stroke();
    paint.setLineDash([]);
    paint.fillStyle = predicted ? this.#theme.text : "#0b0f13";
    paint.textAlign = "center";
    paint.textBaseline = "middle";
    paint.fillText(text, u, v + 0.5);
    paint.globalAlpha = 1;
  }

  // The 95 % ellipse of where they may be.
  #paintSpread(paint, one, u, v) {
    const [xx, xy, yy] = one.cov_m2;
    const mean = (xx + yy) / 2;
    const spread = Math.hypot((xx - yy) / 2, xy);
    const long = Math.sqrt(Math.max(0, mean + spread) * 5.99) * this.#view.scale;
    const short = Math.sqrt(Math.max(0, mean - spread) * 5.99) * this.#view.scale;
    if (!(long > 1) || long > this.#view.width) return;
    paint.beginPath();
    paint.ellipse(u, v, long, Math.max(0.5, short), -0.5 * Math.atan2(2 * xy, xx - yy), 0, 2 * Math.PI);
    paint.fillStyle = personColour(one.number, 0.13);
    paint.fill();
    paint.strokeStyle = personColour(one.number, 0.4);
    paint.lineWidth = 1;
    paint.stroke();
  }
}

function middle(points) {
  const sum = points.reduce(([a, b], [x, y]) => [a + x, b + y], [0, 0]);
  return [sum[0] / points.length, sum[1] / points.length];
}
