// Drag cards with a mouse, a pen, or by the grip with a finger.

const FAR = 5; // pixels, before a press becomes a drag

/**
 * Let cards be dragged between columns.
 * @param {HTMLElement} columns The element that contains the columns.
 * @param {(id: string, column: string, after: string | null) => void} drop Called when a card is dropped, with the card before it.
 * @param {() => void} back Called when a card was not dropped, to put it back.
 * @returns {{card: HTMLElement | null, cancel: () => void}} The card that is being dragged.
 */
export function dragging(columns, drop, back) {
  const state = { card: null, cancel: () => {} };

  columns.addEventListener("pointerdown", (down) => {
    const card = down.target.closest(".card");
    if (!card || down.button !== 0 || state.card) return;
    if (down.pointerType === "touch" && !down.target.closest(".grip")) return;
    const hole = document.createElement("div");
    const until = new AbortController();
    const { signal } = until;

    function begin() {
      const box = card.getBoundingClientRect();
      hole.className = "hole";
      hole.style.height = `${box.height}px`;
      card.before(hole);
      card.style.setProperty("--width", `${box.width}px`);
      card.style.setProperty("--left", `${box.left}px`);
      card.style.setProperty("--top", `${box.top}px`);
      card.classList.add("dragged");
      card.setPointerCapture(down.pointerId);
      state.card = card;
    }

    function finish(dropped) {
      until.abort();
      if (state.card !== card) return;
      state.card = null;
      state.cancel = () => {};
      card.classList.remove("dragged");
      card.style.translate = "";
      const column = hole.closest(".column");
      let after = hole.previousElementSibling;
      if (after === card) after = card.previousElementSibling;
      hole.replaceWith(card);
      const quiet = new AbortController(); // ignore the click that ends a drag
      addEventListener("click", (click) => click.stopPropagation(), { capture: true, signal: quiet.signal });
      setTimeout(() => quiet.abort());
      if (dropped) drop(card.dataset.id, column.dataset.id, after?.dataset.id ?? null);
      else back();
    }

    state.cancel = () => finish(false);
    addEventListener("pointermove", (move) => {
      const [x, y] = [move.clientX - down.clientX, move.clientY - down.clientY];
      if (!state.card && Math.hypot(x, y) < FAR) return;
      if (!card.isConnected) return finish(false); // another user has deleted it
      if (!state.card) begin();
      move.preventDefault();
      card.style.translate = `${x}px ${y}px`;
      open(columns, hole, card, move.clientX, move.clientY);
    }, { signal });
    addEventListener("pointerup", () => finish(true), { signal });
    addEventListener("pointercancel", () => finish(false), { signal });
    addEventListener("keydown", (key) => key.key === "Escape" && finish(false), { signal });
  });
  return state;
}

// Move the placeholder to the position of a drop.
function open(columns, hole, card, x, y) {
  const distance = (box) => Math.max(box.left - x, 0, x - box.right);
  const boxes = [...columns.querySelectorAll(".column")].map((column) => [distance(column.getBoundingClientRect()), column]);
  const column = boxes.reduce((one, other) => (other[0] < one[0] ? other : one))[1];
  const cards = column.querySelector(".cards");
  const others = [...cards.querySelectorAll(".card")].filter((other) => other !== card);
  const below = others.find((other) => {
    const box = other.getBoundingClientRect();
    return y < box.top + box.height / 2;
  });
  const next = below ?? null;
  if (hole.parentElement !== cards || following(hole, card) !== next) cards.insertBefore(hole, next);
  const edge = columns.parentElement.getBoundingClientRect();
  if (x > edge.right - 40) columns.parentElement.scrollLeft += 12;
  if (x < edge.left + 40) columns.parentElement.scrollLeft -= 12;
}

function following(hole, card) {
  const next = hole.nextElementSibling;
  return next === card ? card.nextElementSibling : next;
}
