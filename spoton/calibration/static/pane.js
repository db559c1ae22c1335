// A canvas that can be zoomed and moved: world units (pixels of the picture, metres of the floor) to pixels of the canvas.

const REACH = 14;
const STILL = 5;

export class Pane {
  // flip: the world's y points up. tell: { press(at), hover(at | null), grab(at, reach) -> index | null, drag(index, at), draw() }
  constructor(canvas, { flip = false, tell }) {
    this.canvas = canvas;
    this.flip = flip ? -1 : 1;
    this.tell = tell;
    this.scale = 1;
    this.origin = [0, 0];
    this.box = null;
    this.fingers = new Map();
    this.watch();
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  // Shows this box, [left, low, right, high] in world units, as large as it fits.
  frame(box) {
    this.box = box;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    this.fitted = Math.min(width / (box[2] - box[0]), height / (box[3] - box[1]));
    this.scale = this.fitted;
    this.origin = [
      (width - this.scale * (box[0] + box[2])) / 2,
      (height - this.flip * this.scale * (box[1] + box[3])) / 2,
    ];
    this.tell.draw();
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const dots = Math.min(window.devicePixelRatio || 1, 2);
    this.canvas.width = Math.round(width * dots);
    this.canvas.height = Math.round(height * dots);
    this.dots = dots;
    if (this.box) this.frame(this.box);
  }

  toCanvas([x, y]) {
    return [this.origin[0] + this.scale * x, this.origin[1] + this.flip * this.scale * y];
  }

  toWorld([x, y]) {
    return [(x - this.origin[0]) / this.scale, (this.flip * (y - this.origin[1])) / this.scale];
  }

  zoom(factor, about = [this.canvas.clientWidth / 2, this.canvas.clientHeight / 2]) {
    const there = this.toWorld(about);
    this.scale = Math.min(Math.max(this.scale * factor, this.fitted * 0.5), this.fitted * 60);
    this.origin = [about[0] - this.scale * there[0], about[1] - this.flip * this.scale * there[1]];
    this.tell.draw();
  }

  watch() {
    const { canvas, fingers } = this;
    const at = (event) => [event.offsetX, event.offsetY];
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * 0.0016), at(event));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button > 0) return;
      canvas.setPointerCapture(event.pointerId);
      const here = at(event);
      const held = fingers.size ? null : this.tell.grab(this.toWorld(here), REACH / this.scale);
      fingers.set(event.pointerId, { from: here, last: here, held, moved: fingers.size > 0 });
      if (fingers.size > 1) for (const finger of fingers.values()) finger.moved = true;
    });
    canvas.addEventListener("pointermove", (event) => {
      const here = at(event);
      const finger = fingers.get(event.pointerId);
      if (!finger) return this.tell.hover(this.toWorld(here));
      if (fingers.size === 2) return this.pinch(event.pointerId, here);
      if (Math.hypot(here[0] - finger.from[0], here[1] - finger.from[1]) > STILL) finger.moved = true;
      if (!finger.moved) return undefined;
      if (finger.held === null) this.origin = this.origin.map((value, k) => value + here[k] - finger.last[k]);
      else this.tell.drag(finger.held, this.toWorld(here));
      finger.last = here;
      return this.tell.draw();
    });
    const up = (event) => {
      const finger = fingers.get(event.pointerId);
      fingers.delete(event.pointerId);
      if (finger && event.type === "pointerup" && !finger.moved && finger.held === null) this.tell.press(this.toWorld(at(event)));
    };
    canvas.addEventListener("pointerup", up);
    canvas.addEventListener("pointercancel", up);
    canvas.addEventListener("pointerleave", () => this.tell.hover(null));
  }

  pinch(id, here) {
    const [a, b] = [...this.fingers.values()];
    const apart = () => Math.hypot(a.last[0] - b.last[0], a.last[1] - b.last[1]);
    const before = apart();
    this.fingers.get(id).last = here;
    if (before > 1) this.zoom(apart() / before, [(a.last[0] + b.last[0]) / 2, (a.last[1] + b.last[1]) / 2]);
  }

  // The canvas, cleared and scaled to CSS pixels.
  paper() {
    const paint = this.canvas.getContext("2d");
    paint.setTransform(this.dots, 0, 0, this.dots, 0, 0);
    paint.clearRect(0, 0, this.canvas.clientWidth, this.canvas.clientHeight);
    return paint;
  }
}
