// The list of people: what the map shows, in words and for the keyboard.

import { personColour } from "./colours.js";

export class PeopleList {
  #rows = new Map();

  constructor({ list, chosen, clear, empty }, world, { onSelect }) {
    Object.assign(this, { list, chosen, empty, clear, world, onSelect });
    clear.addEventListener("click", () => onSelect(null));
  }

  refresh() {
    const people = this.world.present();
    const here = new Set(people.map((one) => one.person));
    for (const [person, row] of this.#rows) {
      if (here.has(person)) continue;
      row.item.remove();
      this.#rows.delete(person);
    }
    people.forEach((one, index) => {
      const row = this.#rows.get(one.person) ?? this.#add(one);
      if (this.list.children[index] !== row.item) this.list.insertBefore(row.item, this.list.children[index] ?? null);
      row.where.replaceChildren(one.zone ?? "Floor", small(sight(one)));
      row.speed.textContent = `${Math.hypot(one.vx_m_s, one.vy_m_s).toFixed(1)} m/s`;
      row.button.setAttribute("aria-pressed", String(one.person === this.world.selected));
    });
    this.list.hidden = !people.length;
    this.empty.hidden = people.length > 0;
    this.empty.textContent = "Nobody is on the floor. Whoever a calibrated camera sees appears here.";
    this.#describeChosen();
  }

  /** What the history says about the chosen one's way. */
  note(text) {
    this.history = text;
    this.#describeChosen();
  }

  #add(one) {
    const item = document.createElement("li");
    item.innerHTML = `<button type="button" class="person"><span class="chip"></span><span class="where"></span><span class="speed"></span></button>`;
    const row = { item, button: item.firstChild, where: item.querySelector(".where"), speed: item.querySelector(".speed") };
    const chip = item.querySelector(".chip");
    chip.textContent = one.number;
    chip.style.background = personColour(one.number);
    row.button.setAttribute("aria-label", `Person ${one.number}`);
    row.button.addEventListener("click", () => this.onSelect(one.person === this.world.selected ? null : one.person));
    this.#rows.set(one.person, row);
    return row;
  }

  #describeChosen() {
    const one = this.world.persons.get(this.world.selected);
    this.clear.hidden = this.chosen.hidden = !this.world.selected;
    if (!this.world.selected) return;
    if (!one) {
      this.chosen.textContent = "This person has left.";
      return;
    }
    const chip = document.createElement("span");
    chip.className = "chip";
    chip.textContent = one.number;
    chip.style.background = personColour(one.number);
    const line = document.createElement("div");
    line.className = "line";
    line.append(chip, `Person ${one.number}`);
    const facts = document.createElement("dl");
    facts.append(
      fact("Place", `${one.x_m.toFixed(1)}, ${one.y_m.toFixed(1)} m`),
      fact("Zone", one.zone ?? "none"),
      fact("Seen by", one.seen.length ? [...new Set(one.seen.map(([camera]) => camera))].join(", ") : "nobody, predicted"),
      fact("Way", this.history ?? "asking history…"),
    );
    this.chosen.replaceChildren(line, facts);
  }
}

function sight(one) {
  const cameras = [...new Set(one.seen.map(([camera]) => camera))];
  if (!cameras.length) return "predicted";
  return cameras.length === 1 ? cameras[0] : `${cameras.length} cameras`;
}

function small(text) {
  const element = document.createElement("small");
  element.textContent = text;
  return element;
}

function fact(name, value) {
  const holder = document.createElement("div");
  const [term, text] = [document.createElement("dt"), document.createElement("dd")];
  term.textContent = name;
  text.textContent = value;
  holder.append(term, text);
  return holder;
}
