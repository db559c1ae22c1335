// One colour per person, the same on the map, in the pictures and in the list.

const GOLDEN_ANGLE = 137.508;

/** CSS colour of a person; neighbouring numbers lie far apart on the wheel, and every eighth differs in lightness. */
export function personColour(number, alpha = 1, darker = 0) {
  if (number == null) return `rgb(214 222 230 / ${alpha})`;
  const hue = (number * GOLDEN_ANGLE + 40) % 360;
  const pale = Math.floor((number - 1) / 8) % 2;
  const [lightness, chroma] = pale ? [0.87, 0.09] : [0.76, 0.155];
  return `oklch(${lightness - darker} ${chroma + darker / 4} ${hue.toFixed(1)} / ${alpha})`;
}

/** The theme's colours that canvases need; read again when the theme changes. */
export function themeColours() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(name).trim();
  return {
    ground: read("--map-ground"), floor: read("--map-floor"), grid: read("--map-grid"), edge: read("--map-edge"),
    text: read("--text"), muted: read("--muted"), accent: read("--accent"), warn: read("--warn"), bad: read("--bad"),
    good: read("--ok"),
    darker: matchMedia("(prefers-color-scheme: light)").matches ? 0.16 : 0,
    planAlpha: Number(read("--map-plan-alpha")) || 1,
  };
}
