// What the two canvases show. Nothing is computed here but where it goes on the screen.

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const GRID = "rgba(90, 225, 235, .75)";
const ZERO = "rgba(255, 214, 90, .95)";
const BEFORE = "rgba(255, 120, 190, .7)";
const WRONG = "#e3ac48";

export function drawPicture(pane, state) {
  const paint = pane.paper();
  const [width, height] = state.session.size_px;
  if (state.picture) {
    const [x, y] = pane.toCanvas([0, 0]);
    paint.imageSmoothingEnabled = pane.scale < 4;
    paint.drawImage(state.picture, x, y, width * pane.scale, height * pane.scale);
  }
  if (state.showBefore && state.session.before) gridLines(paint, pane, state.session.before, BEFORE, BEFORE, false);
  if (state.showGrid && state.drawn) gridLines(paint, pane, state.drawn, GRID, ZERO, true);
  state.points.forEach((point, k) => {
    if (point.image_px) mark(paint, pane, point.image_px, point.fitted_px, point, k, state.chosen === k);
  });
  if (state.there && state.there.from === "floor" && state.there.image_px) cross(paint, pane.toCanvas(state.there.image_px));
}

export function drawFloor(pane, state) {
  const paint = pane.paper();
  const { floor } = state.session;
  const [left, low, right, high] = pane.box;
  if (floor.size_m) {
    const [x, y] = pane.toCanvas([floor.origin_m[0], floor.origin_m[1] + floor.size_m[1]]);
    paint.fillStyle = style("--floor");
    paint.fillRect(x, y, floor.size_m[0] * pane.scale, floor.size_m[1] * pane.scale);
  }
  if (state.plan) {
    const [x, y] = pane.toCanvas([floor.origin_m[0], floor.origin_m[1] + state.planSize[1]]);
    paint.drawImage(state.plan, x, y, state.planSize[0] * pane.scale, state.planSize[1] * pane.scale);
  }
  metres(paint, pane);
  for (const zone of floor.zones) outline(paint, pane, zone, style("--warn"), [4, 4]);
  if (state.drawn) {
    outline(paint, pane, state.drawn.footprint_m, style("--accent"), [], "rgba(91, 184, 196, .12)");
    if (state.drawn.position_m) camera(paint, pane.toCanvas(state.drawn.position_m.slice(0, 2)));
  }
  state.points.forEach((point, k) => {
    if (point.floor_m) mark(paint, pane, point.floor_m, point.fitted_m, point, k, state.chosen === k);
  });
  if (state.there && state.there.from === "picture" && state.there.floor_m) {
    if (state.there.ellipse) around(paint, pane, state.there.ellipse);
    cross(paint, pane.toCanvas(state.there.floor_m));
  }
  return [left, low, right, high];
}

function gridLines(paint, pane, drawn, colour, zero, named) {
  paint.lineWidth = 1.2;
  paint.font = "600 11px system-ui, sans-serif";
  const { clientWidth: width, clientHeight: height } = pane.canvas;
  const said = [];
  const free = ([x, y]) => said.every(([a, b]) => Math.abs(x - a) > 42 || Math.abs(y - b) > 15);
  for (const line of drawn.lines) {
    paint.strokeStyle = paint.fillStyle = line.at_m === 0 ? zero : colour;
    let label = null;
    for (const piece of line.pieces) {
      paint.beginPath();
      piece.forEach((point, k) => {
        const [x, y] = pane.toCanvas(point);
        if (k) paint.lineTo(x, y); else paint.moveTo(x, y);
        if (x > 8 && x < width - 50 && y > 16 && y < height - 12 && (label === null || (line.x ? y > label[1] : x < label[0]))) label = [x, y];
      });
      paint.stroke();
    }
    if (named && label && Math.round(line.at_m / drawn.step_m) % 2 === 0 && free(label)) {
      said.push(label);
      const text = `${line.x ? "x" : "y"} ${line.at_m}`;
      paint.strokeStyle = "rgba(5, 8, 12, .8)";
      paint.lineWidth = 3;
      paint.strokeText(text, label[0] + 3, label[1] - 3);
      paint.fillText(text, label[0] + 3, label[1] - 3);
      paint.lineWidth = 1.2;
    }
  }
}

function metres(paint, pane) {
  const { clientWidth: width, clientHeight: height } = pane.canvas;
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 500].find((each) => each * pane.scale > 34) ?? 1000;
  const [x0, y0] = pane.toWorld([0, height]);
  const [x1, y1] = pane.toWorld([width, 0]);
  paint.lineWidth = 1;
  paint.font = "11px system-ui, sans-serif";
  paint.fillStyle = style("--muted");
  const tidy = (value) => String(Number(value.toFixed(2)));
  for (let n = Math.ceil(x0 / step); n * step <= x1; n += 1) {
    const [x] = pane.toCanvas([n * step, 0]);
    paint.strokeStyle = n === 0 ? style("--edge") : style("--grid");
    line(paint, [x, 0], [x, height]);
    paint.fillText(tidy(n * step), x + 3, height - 4);
  }
  for (let n = Math.ceil(y0 / step); n * step <= y1; n += 1) {
    const [, y] = pane.toCanvas([0, n * step]);
    paint.strokeStyle = n === 0 ? style("--edge") : style("--grid");
    line(paint, [0, y], [width, y]);
    if (y < height - 18) paint.fillText(tidy(n * step), 4, y - 3);
  }
}

function mark(paint, pane, at, fitted, point, k, chosen) {
  const [x, y] = pane.toCanvas(at);
  const colour = point.used === false ? WRONG : style("--accent");
  if (fitted) {
    paint.strokeStyle = point.used === false ? WRONG : "#ff5f6d";
    paint.lineWidth = 2;
    line(paint, [x, y], pane.toCanvas(fitted));
  }
  paint.lineWidth = chosen ? 2.5 : 1.6;
  for (const [ring, wide] of [["rgba(5, 8, 12, .85)", paint.lineWidth + 2], [chosen ? "#fff" : colour, paint.lineWidth]]) {
    paint.strokeStyle = ring;
    paint.lineWidth = wide;
    paint.beginPath();
    paint.arc(x, y, 7, 0, 2 * Math.PI);
    paint.stroke();
    line(paint, [x - 3, y], [x + 3, y]);
    line(paint, [x, y - 3], [x, y + 3]);
  }
  paint.font = "700 12px system-ui, sans-serif";
  paint.lineWidth = 3.5;
  paint.strokeStyle = "rgba(5, 8, 12, .85)";
  paint.strokeText(String(k + 1), x + 10, y - 7);
  paint.fillStyle = chosen ? "#fff" : point.used === false ? WRONG : "#7fe3ee";
  paint.fillText(String(k + 1), x + 10, y - 7);
}

function around(paint, pane, ellipse) {
  const [x, y] = pane.toCanvas(ellipse.floor_m);
  paint.beginPath();
  paint.ellipse(x, y, Math.max(ellipse.long_m * pane.scale, 1), Math.max(ellipse.short_m * pane.scale, 1), -ellipse.angle_rad, 0, 2 * Math.PI);
  paint.fillStyle = "rgba(255, 95, 109, .22)";
  paint.fill();
  paint.strokeStyle = "#ff5f6d";
  paint.lineWidth = 1.5;
  paint.stroke();
}

function cross(paint, [x, y]) {
  for (const [colour, wide] of [["rgba(5, 8, 12, .85)", 4], ["#ff5f6d", 2]]) {
    paint.strokeStyle = colour;
    paint.lineWidth = wide;
    line(paint, [x - 8, y], [x + 8, y]);
    line(paint, [x, y - 8], [x, y + 8]);
  }
}

function camera(paint, [x, y]) {
  paint.fillStyle = style("--accent");
  paint.beginPath();
  paint.arc(x, y, 6, 0, 2 * Math.PI);
  paint.fill();
  paint.strokeStyle = style("--panel");
  paint.lineWidth = 2;
  paint.stroke();
}

function outline(paint, pane, corners, colour, dash, fill) {
  if (corners.length < 3) return;
  paint.beginPath();
  corners.forEach((corner, k) => {
    const [x, y] = pane.toCanvas(corner);
    if (k) paint.lineTo(x, y); else paint.moveTo(x, y);
  });
  paint.closePath();
  if (fill) { paint.fillStyle = fill; paint.fill(); }
  paint.setLineDash(dash);
  paint.strokeStyle = colour;
  paint.lineWidth = 1.2;
  paint.stroke();
  paint.setLineDash([]);
}

function line(paint, [x0, y0], [x1, y1]) {
  paint.beginPath();
  paint.moveTo(x0, y0);
  paint.lineTo(x1, y1);
  paint.stroke();
}
