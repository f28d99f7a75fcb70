/**
 * The few operations the page does on the document.
 *
 * Promises: data reaches the document as text only (values come from strangers' browsers); a list is updated
 * in place, so that scroll position, focus and text selection survive a refresh.
 */

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/** An element with attributes and children; a string child becomes a text node. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

export function svg(tag, attributes = {}) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

/** Text of unknown script and direction: isolated, so that it cannot reorder its neighbours. */
export function foreign(text = "") {
  return el("bdi", { class: "foreign" }, text);
}

const keyedChildren = new WeakMap();

/**
 * Makes the children of `parent` match `items`: known keys are updated and moved, new ones created, the rest
 * removed. A repeated key is kept apart by its count.
 */
export function reconcile(parent, items, keyOf, create, update) {
  const before = keyedChildren.get(parent) ?? new Map();
  const after = new Map();
  for (const item of items) {
    let key = String(keyOf(item));
    while (after.has(key)) key += "\u0000";
    const node = before.get(key) ?? create(item);
    after.set(key, node);
    update(node, item);
  }
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  const kept = new Set(after.values());
  for (const child of [...parent.children]) if (!kept.has(child)) child.remove();
  let place = parent.firstElementChild;
  for (const node of after.values()) {
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
  }
  if (focused?.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
  keyedChildren.set(parent, after);
}

/** The small "not fresh" mark in a card's foot. */
export function markStale(card, error) {
  const mark = card.querySelector("[data-stale]");
  setText(mark, error ? "Not refreshed" : "");
  mark.title = error ? error.message : "";
}
