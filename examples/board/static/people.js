// The present users: initials in the header and on the card that they have open, and pointers.

import { clone, fill } from "./dom.js";

const PACE = 400; // milliseconds between two positions of a pointer; each is a commit
const AGAIN = 10_000; // milliseconds until the open card is sent again, before it expires

export class People {
  #there = new Map();
  #at = new Map();
  #cursors = new Map();

  /**
   * @param {{header: HTMLElement, cursors: HTMLElement, card: (id: string) => HTMLElement | undefined}} places
   * @param {string} tab The id of this tab.
   */
  constructor(places, tab) {
    this.places = places;
    this.tab = tab;
  }

  /** Set the present users, by the ids of their tabs. */
  here(members) {
    this.#there = new Map(Object.entries(members));
    this.show();
  }

  /** Set the positions of pointers; null removes a pointer. */
  at(moves) {
    for (const [tab, where] of Object.entries(moves)) {
      if (where === null) this.#at.delete(tab);
      else this.#at.set(tab, where);
    }
    this.show();
  }

  /** Forget everything when the connection is lost. */
  lost() {
    this.#there.clear();
    this.#at.clear();
    this.show();
  }

  /** Return the other users who have a card open. */
  lookingAt(card) {
    return this.#others().filter(([, guest]) => guest.card === card).map(([, guest]) => guest);
  }

  show() {
    const everybody = [...this.#there].sort(([a], [b]) => (b === this.tab) - (a === this.tab) || (a < b ? -1 : 1));
    this.places.header.replaceChildren(...everybody.map(([tab, guest]) => avatar(guest, tab === this.tab)));
    for (const old of document.querySelectorAll(".looking .avatar")) old.remove();
    for (const [, guest] of this.#others()) this.places.card(guest.card)?.querySelector(".looking").append(avatar(guest));
    for (const [tab, element] of this.#cursors) {
      if (!this.#there.has(tab) || this.#at.get(tab)?.x == null) {
        element.remove();
        this.#cursors.delete(tab);
      }
    }
    for (const [tab, guest] of this.#others()) if (guest.x != null) this.#point(tab, guest);
  }

  #others() {
    const others = [...this.#there].filter(([tab]) => tab !== this.tab);
    return others.map(([tab, guest]) => [tab, { ...guest, ...this.#at.get(tab) }]);
  }

  #point(tab, guest) {
    let element = this.#cursors.get(tab);
    if (!element) {
      element = clone("cursor");
      this.#cursors.set(tab, element);
      this.places.cursors.append(element);
    }
    element.dataset.colour = guest.colour;
    element.style.translate = `${Number(guest.x)}px ${Number(guest.y)}px`;
    fill(element.querySelector("span"), guest.name);
  }
}

/** Return the initials of a name. */
function avatar({ name, colour }, own = false) {
  const element = document.createElement(own ? "button" : "span");
  element.className = own ? "avatar own" : "avatar";
  element.dataset.colour = colour;
  element.title = own ? `${name} (you)` : name;
  const words = String(name).split(/\s+/);
  element.textContent = words.map((word) => [...word][0] ?? "").slice(0, 2).join("").toUpperCase();
  return element;
}

/**
 * Send the pointer of this tab to the others, at a limited rate.
 * @param {string} tab The id of this tab.
 * @param {HTMLElement} board The element that contains the cards.
 * @returns {(card: string | null) => void} Sends which card is open.
 */
export function pointing(tab, board) {
  const where = { x: null, y: null, card: null };
  let told = JSON.stringify(where);
  let opened = null;
  let timer;

  async function tell() {
    timer = undefined;
    const now = JSON.stringify(where);
    if (now === told) return;
    told = now;
    timer = setTimeout(tell, PACE);
    const headers = { "Content-Type": "application/json" };
    // A lost position does not matter: the next one follows.
    await fetch(`/at/${tab}`, { method: "PUT", headers, body: now }).catch(() => {});
  }

  function change(to) {
    Object.assign(where, to);
    timer ??= setTimeout(tell, 50);
  }

  board.addEventListener("pointermove", (event) => {
    const box = board.getBoundingClientRect();
    const over = document.elementFromPoint(event.clientX, event.clientY)?.closest(".card");
    change({
      x: Math.round(event.clientX - box.left + board.scrollLeft),
      y: Math.round(event.clientY - box.top + board.scrollTop),
      card: opened ?? over?.dataset.id ?? null,
    });
  });
  document.documentElement.addEventListener("pointerleave", () => change({ x: null, y: null, card: opened }));
  setInterval(() => {
    if (opened === null) return;
    told = undefined;
    change({});
  }, AGAIN);
  return (card) => {
    opened = card;
    change({ card });
  };
}
