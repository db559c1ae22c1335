// The live socket: connects, reconnects, and estimates the server's clock.

const PROTOCOL = 1;
const LONGEST_WAIT_MS = 15000;
const CLOCK_WINDOW = 200;

export class Feed {
  #socket = null;
  #failures = 0;
  #silence = 0;
  #heartbeatMs = 5000;
  #transits = [];

  /** onMessage(message); onState("connecting" | "live" | "lost", text). */
  constructor({ onMessage, onState }) {
    this.onMessage = onMessage;
    this.onState = onState;
    window.addEventListener("online", () => this.#retryNow());
  }

  open() {
    this.onState("connecting", this.#failures ? "Reconnecting" : "Connecting");
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws/tracking`);
    this.#socket = socket;
    this.#watch(socket);
    socket.onmessage = (event) => {
      this.#watch(socket);
      this.#take(JSON.parse(event.data));
    };
    socket.onclose = () => this.#lost(socket);
  }

  /** The server's clock now, microseconds UTC. */
  serverNow() {
    return Date.now() * 1000 - this.#offset();
  }

  #take(message) {
    if (message.sent) this.#time(message.sent);
    if (message.type === "hello") {
      if (message.protocol > PROTOCOL) location.reload();
      this.#heartbeatMs = message.heartbeat_s * 1000;
      this.#failures = 0;
      this.onState("live", "Live");
    }
    this.onMessage(message);
  }

  // The shortest transit seen lately is the best estimate of how far the two clocks are apart.
  #time(sent) {
    this.#transits.push(Date.now() * 1000 - sent);
    if (this.#transits.length > CLOCK_WINDOW) this.#transits.shift();
  }

  #offset() {
    return this.#transits.length ? Math.min(...this.#transits) : 0;
  }

  // A connection that says nothing for more than two heartbeats is dead, whatever the socket believes.
  #watch(socket) {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#lost(socket), this.#heartbeatMs * 2.5);
  }

  #lost(socket) {
    if (socket !== this.#socket) return;
    this.#socket = null;
    socket.onclose = socket.onmessage = null;
    socket.close();
    clearTimeout(this.#silence);
    this.#transits = [];
    const wait = Math.min(LONGEST_WAIT_MS, 500 * 2 ** this.#failures) * (0.75 + Math.random() / 2);
    this.#failures += 1;
    this.onState("lost", `No connection, next try in ${Math.max(1, Math.round(wait / 1000))} s`);
    this.retry = setTimeout(() => this.open(), wait);
  }

  #retryNow() {
    if (this.#socket) return;
    clearTimeout(this.retry);
    this.open();
  }
}
