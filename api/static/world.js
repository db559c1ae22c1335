// What this page knows: people, cameras, and which boxes belong to which picture.

const TRAIL_US = 10e6;
const FORGET_US = 12e6;
const BOXES_KEPT = 64;

export const pictureKey = (frame, at) => `${frame}@${at}`;

export class World {
  persons = new Map();
  cameras = new Map();
  newestAt = 0;
  selected = null;

  /** Take one live message in. */
  take(message) {
    switch (message.type) {
      case "snapshot": this.#restart(message); break;
      case "tracking":
        for (const [name, boxes] of Object.entries(message.cameras ?? {})) this.#boxes(name, boxes);
        if (message.persons) this.#located(message.at, message.persons);
        break;
      case "heartbeat": for (const camera of message.cameras) this.#camera(camera); break;
      case "camera": this.#camera(message.camera); break;
      case "identity": this.#identity(message.event); break;
    }
    if (message.at && message.type !== "heartbeat") this.newestAt = Math.max(this.newestAt, message.at);
  }

  /** Number of the person in a box, by what is known now. */
  numberOf(camera, box) {
    return this.cameras.get(camera)?.numbers.get(box.track) ?? box.number;
  }

  personOf(camera, box) {
    return this.cameras.get(camera)?.owners.get(box.track) ?? box.person;
  }

  /** Those heard of lately, by number. */
  present() {
    return [...this.persons.values()].filter((one) => this.newestAt - one.at < FORGET_US)
      .sort((a, b) => a.number - b.number);
  }

  #restart(message) {
    const before = this.persons;
    this.persons = new Map();
    for (const one of message.persons) {
      this.#place(one, before.get(one.person));
      this.persons.get(one.person).trail = one.trail_m ?? [];
    }
    for (const camera of message.cameras) this.#camera(camera);
    for (const [name, boxes] of Object.entries(message.boxes)) this.#boxes(name, boxes);
    this.newestAt = message.at;
  }

  #located(at, persons) {
    for (const one of persons) {
      this.#place(one, this.persons.get(one.person));
      const trail = this.persons.get(one.person).trail;
      trail.push([at, one.x_m, one.y_m]);
      while (trail.length && trail[0][0] < at - TRAIL_US) trail.shift();
    }
    for (const [id, one] of this.persons) if (at - one.at > FORGET_US) this.persons.delete(id);
  }

  #place(one, before) {
    const now = performance.now();
    const shown = before?.shown ?? { x: one.x_m, y: one.y_m };
    this.persons.set(one.person, { ...one, shown, received: now, trail: before?.trail ?? [] });
    for (const [camera, track] of one.seen) {
      const known = this.#known(camera);
      known.owners.set(track, one.person);
      known.numbers.set(track, one.number);
    }
  }

  #known(name) {
    let camera = this.cameras.get(name);
    if (!camera) {
      camera = { name, health: null, latest: null, boxes: new Map(), owners: new Map(), numbers: new Map() };
      this.cameras.set(name, camera);
    }
    return camera;
  }

  #camera(health) {
    const camera = this.#known(health.name);
    camera.health = health;
    if (health.status === "offline" || health.status === "ended") camera.latest = null;
  }

  #boxes(name, boxes) {
    const camera = this.#known(name);
    camera.latest = boxes;
    const people = boxes.boxes.length;
    const status = { name, reason: "", detector: "", ...camera.health, status: "online" };
    camera.health = { ...status, people, fps: boxes.fps, frames_skipped: boxes.frames_skipped, at: boxes.at };
    camera.boxes.set(pictureKey(boxes.frame, boxes.at), boxes);
    while (camera.boxes.size > BOXES_KEPT) camera.boxes.delete(camera.boxes.keys().next().value);
    this.#forgetTracks(camera);
  }

  #forgetTracks(camera) {
    if (camera.owners.size < 500) return;
    for (const track of [...camera.owners.keys()].slice(0, 250)) {
      camera.owners.delete(track);
      camera.numbers.delete(track);
    }
  }

  #identity(event) {
    if (event.type === "PersonLeft") this.persons.delete(event.person);
    if (event.type === "PersonsMerged") {
      this.persons.delete(event.merged);
      // Who left and is said to be back is not among those who are there yet; their number ends their name.
      const number = this.persons.get(event.person)?.number ?? Number(event.person.split("-").pop());
      for (const camera of this.cameras.values()) {
        for (const [track, owner] of camera.owners) {
          if (owner !== event.merged) continue;
          camera.owners.set(track, event.person);
          camera.numbers.set(track, number);
        }
      }
      if (this.selected === event.merged) this.selected = event.person;
    }
    if (event.type === "PersonSplit") {
      for (const [camera, track] of event.tracks) {
        this.#known(camera).owners.set(track, event.new_person);
        this.#known(camera).numbers.set(track, event.number);
      }
    }
    if (event.type === "TrackReassigned") {
      this.#known(event.camera).owners.set(event.track, event.person);
      this.#known(event.camera).numbers.set(event.track, event.number);
    }
    if (event.type === "TrackAssigned") {
      const camera = this.#known(event.camera);
      camera.owners.set(event.track, event.person);
      const number = this.persons.get(event.person)?.number;
      if (number != null) camera.numbers.set(event.track, number);
    }
  }
}
