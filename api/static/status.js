// The header's facts and the strip of services at the foot.

const RECORDED_US = 3600e6;

export class Status {
  #ages = [];

  constructor(find, world, feed) {
    Object.assign(this, { find, world, feed });
  }

  connection(state, text) {
    this.find("connection").dataset.state = state;
    this.find("connection-text").textContent = text;
  }

  /** Measure how old a message's data was when it got here. */
  measure(message) {
    if (message.type !== "tracking") return;
    this.#ages.push(this.feed.serverNow() - message.at);
    if (this.#ages.length > 40) this.#ages.shift();
  }

  refresh() {
    const cameras = [...this.world.cameras.values()].map((camera) => camera.health).filter(Boolean);
    this.find("fact-people").textContent = this.world.present().length;
    this.find("fact-cameras").textContent = `${cameras.filter((one) => one.status === "online").length} of ${cameras.length}`;
    const detector = detectors(cameras);
    this.find("fact-detector").textContent = detector;
    this.find("fact-detector").title = detector;
    this.find("fact-newest").textContent = this.world.newestAt ? clock(this.world.newestAt) : "–";
    this.find("fact-latency").textContent = this.#latency();
  }

  #latency() {
    if (!this.#ages.length) return "–";
    const middle = [...this.#ages].sort((a, b) => a - b)[this.#ages.length >> 1];
    if (Math.abs(middle) > RECORDED_US) return "recorded";
    const now = Math.max(middle, this.feed.serverNow() - this.world.newestAt - 1e6);
    return now < 10e6 ? `${Math.max(0, Math.round(now / 1000))} ms` : `${Math.round(now / 1e6)} s`;
  }

  /** Ask /health; it answers 503 with the same body when the whole is down. */
  async services() {
    try {
      const health = await (await fetch("/health", { cache: "no-store" })).json();
      const { cameras, ...services } = health.services;
      this.find("services").replaceChildren(
        entry("version", { status: "" }, health.version),
        ...Object.entries(services).map(([name, report]) => entry(name, report, words(report))),
      );
    } catch {
      this.find("services").replaceChildren(entry("server", { status: "down" }, "does not answer"));
    }
  }
}

/** Which detector looks at which camera. */
function detectors(cameras) {
  const byName = new Map();
  for (const one of cameras) {
    if (one.detector) byName.set(one.detector, [...(byName.get(one.detector) ?? []), one.name]);
  }
  if (!byName.size) return "none yet";
  if (byName.size === 1) return byName.keys().next().value;
  return [...byName].map(([name, where]) => `${name} (${where.join(", ")})`).join(" · ");
}

function words(report) {
  if (report.status === "down") return `down${report.reason ? `: ${report.reason}` : ""}`;
  if (report.ms != null) return `${report.status}, ${report.ms} ms`;
  return report.status;
}

function entry(name, report, text) {
  const item = document.createElement("li");
  item.dataset.status = report.status;
  if (report.status) item.innerHTML = '<span class="light" aria-hidden="true"></span>';
  const value = document.createElement("b");
  value.textContent = text;
  item.append(`${name} `, value);
  return item;
}

/** Time of day with tenths, where the reader is; the date too when it is another day. */
function clock(at) {
  const moment = new Date(at / 1000);
  const time = `${moment.toLocaleTimeString("en-GB")}.${Math.floor(moment.getMilliseconds() / 100)}`;
  return moment.toDateString() === new Date().toDateString() ? time : `${moment.toLocaleDateString("en-CA")} ${time}`;
}
