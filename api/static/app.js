// The live page: wires the feed to the map, the tiles and the words.

import { Feed } from "./feed.js";
import { FloorMap } from "./map.js";
import { PeopleList } from "./people.js";
import { Status } from "./status.js";
import { Tiles } from "./tiles.js";
import { World } from "./world.js";

const WAY_US = 15 * 60e6;
const find = (id) => document.getElementById(id);

const world = new World();
const map = new FloorMap(find("map"), world, { onSelect: select });
const tiles = new Tiles(find("tiles"), world, { onSelect: select });
const list = new PeopleList(
  { list: find("list"), chosen: find("chosen"), clear: find("clear"), empty: find("people-empty") },
  world, { onSelect: select },
);
const feed = new Feed({ onMessage: take, onState: (state, text) => status.connection(state, text) });
const status = new Status(find, world, feed);
let site = null;

function take(message) {
  world.take(message);
  status.measure(message);
  const sized = message.type === "camera" && site?.cameras.some((one) => one.calibrated && !one.field_m);
  if (message.type === "hello" || sized) loadSite();
  if (message.type === "snapshot" || message.type === "camera") refresh();
}

function refresh() {
  status.refresh();
  tiles.refresh();
  list.refresh();
  describe();
}

/** What an empty part of the page needs, said there. */
function describe() {
  const cameras = [...world.cameras.values()];
  const online = cameras.filter((camera) => camera.health?.status === "online");
  find("cameras-empty").hidden = cameras.length > 0;
  find("cameras-empty").textContent = "No camera is set up: name cameras in the site file and start with spoton up --site FILE.";
  const skipped = cameras.reduce((sum, camera) => sum + (camera.health?.frames_skipped ?? 0), 0);
  find("cameras-note").textContent = skipped ? `${skipped} frames skipped in all` : "";
  const calibrated = site?.cameras.some((camera) => camera.calibrated);
  const count = world.present().length;
  let words = "";
  if (site && !calibrated) words = "No camera is calibrated, so nobody can be placed on the floor: add a calibration to the site file.";
  else if (cameras.length && !online.length) words = "No camera delivers pictures yet: check the sources in the site file, or whether the workers run.";
  else if (site && !count) words = "Nobody is on the floor right now.";
  find("map-empty").hidden = !words;
  find("map-empty").textContent = words;
  find("map").setAttribute("aria-label", `Floor map with ${count === 1 ? "1 person" : `${count} people`}; the list of people says where`);
}

async function select(person) {
  if (person === world.selected) return;
  world.selected = person;
  map.trajectory = null;
  list.history = null;
  refresh();
  tiles.redraw();
  if (!person) return;
  const number = world.persons.get(person)?.number;
  const from = Math.max(0, Math.round(world.newestAt - WAY_US));
  try {
    const response = await fetch(`/api/v1/persons/${encodeURIComponent(person)}/trajectory?from=${from}&limit=20000`);
    const told = await response.json();
    if (person !== world.selected) return;
    if (!response.ok) return list.note(`only the last 10 s: ${told.error.what}`);
    map.trajectory = { person, number, points: told.points };
    list.note(way(told.points));
  } catch {
    list.note("only the last 10 s: the server does not answer");
  }
}

function way(points) {
  if (points.length < 2) return "only the last 10 s: history has nothing yet";
  let metres = 0;
  for (let i = 1; i < points.length; i += 1) metres += Math.hypot(points[i].x_m - points[i - 1].x_m, points[i].y_m - points[i - 1].y_m);
  const seconds = Math.round((points.at(-1).at - points[0].at) / 1e6);
  return `${metres.toFixed(0)} m in ${seconds} s`;
}

async function loadSite() {
  try {
    const response = await fetch("/api/v1/site");
    if (!response.ok) return;
    site = await response.json();
  } catch {
    return; // asked again at the next hello
  }
  find("site-name").textContent = site.name;
  document.title = `${site.name} · SpotOn`;
  await map.show(site);
  handoffs.hidden = !site.handoffs?.length;
  describe();
}

const handoffs = find("handoffs");
handoffs.addEventListener("click", () => {
  map.handoffs = !map.handoffs;
  handoffs.setAttribute("aria-pressed", String(map.handoffs));
  map.redraw();
});

document.addEventListener("keydown", (event) => { if (event.key === "Escape") select(null); });
setInterval(() => { if (!document.hidden) refresh(); }, 500);
setInterval(() => { if (!document.hidden) status.services(); }, 10000);
status.services();
feed.open();
