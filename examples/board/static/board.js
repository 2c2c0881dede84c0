// Puts the parts of the page together.

import { Columns } from "./columns.js";
import { dragging } from "./drag.js";
import { COLOURS, Editor, me } from "./editor.js";
import { live } from "./live.js";
import { outbox } from "./outbox.js";
import { People, pointing } from "./people.js";
import { Store } from "./store.js";

const find = (id) => document.getElementById(id);
const NAMES = ["Otter", "Heron", "Lynx", "Newt", "Wren", "Badger", "Finch", "Marten", "Plover", "Hare"];

// `randomUUID` exists only on pages from HTTPS or from this machine.
function id() {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function any(choices) {
  return choices[crypto.getRandomValues(new Uint32Array(1))[0] % choices.length];
}

const tab = id();
let guest = JSON.parse(localStorage.getItem("guest")) ?? { name: any(NAMES), colour: any([...Array(COLOURS).keys()]) };
localStorage.setItem("guest", JSON.stringify(guest));

const store = new Store(sessionStorage);
const point = pointing(tab, find("board"));
const columns = new Columns(find("columns"), store, { id, open: (card) => editor.open(card), told });
const people = new People({ header: find("people"), cursors: find("cursors"), card: (card) => columns.card(card) }, tab);
const editor = new Editor(find("editor"), store, { looks: point, told });
const rename = me(find("me"), () => guest, (chosen) => {
  guest = chosen;
  localStorage.setItem("guest", JSON.stringify(guest));
  reconnect();
});
find("people").addEventListener("click", (event) => event.target.closest(".own") && rename());
columns.drag = dragging(find("columns"), (...drop) => columns.move(...drop), () => columns.show());

const state = { connected: false, before: false, online: true };
store.addEventListener("change", ({ detail }) => {
  columns.show(detail ?? []);
  people.show();
  showOthers();
  showState();
});
const send = outbox(store, told);
const reconnect = live(() => new URLSearchParams({ tab, ...guest }), {
  open() {
    if (state.before && !state.connected) told("Connected again.");
    Object.assign(state, { connected: true, before: true });
    store.connected();
    send();
  },
  lost() {
    state.connected = false;
    people.lost();
    showState();
  },
  board: (batch) => store.receive(batch),
  here(members) {
    people.here(members);
    showOthers();
  },
  at(moves) {
    people.at(moves);
    showOthers();
  },
  status({ online }) {
    state.online = online;
    showState();
  },
});
addEventListener("beforeunload", (event) => store.unsent && event.preventDefault());

function showOthers() {
  editor.show((card) => people.lookingAt(card));
}

function showState() {
  const [name, text] = describe();
  find("status").dataset.state = name;
  find("status").textContent = text;
}

function describe() {
  const waiting = store.unsent ? ` ${store.unsent} ${store.unsent > 1 ? "changes wait" : "change waits"}.` : "";
  if (!state.connected) return state.before ? ["lost", `Reconnecting…${waiting}`] : ["connecting", "Connecting…"];
  if (!state.online) return ["away", `The store does not answer.${waiting}`];
  return store.unsent ? ["saving", "Saving…"] : ["live", "Live"];
}

// Show a message for a while, with a button to undo.
function told(text, undo) {
  const toast = document.createElement("div");
  toast.className = "toast";
  toast.textContent = text;
  if (undo) {
    const button = document.createElement("button");
    button.textContent = "Undo";
    button.addEventListener("click", () => {
      undo();
      toast.remove();
    });
    toast.append(button);
  }
  find("toasts").append(toast);
  setTimeout(() => toast.remove(), undo ? 8000 : 4000);
}
