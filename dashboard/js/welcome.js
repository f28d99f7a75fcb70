/**
 * What a site sees before its first event: the line to paste.
 *
 * In: whether anything has arrived in 30 days. Out: the welcome card, instead of a page of zeros.
 */

import { byId, setText } from "./dom.js";
import * as state from "./state.js";

const TRACKER = "https://YOUR-COLLECTOR/tracker.js";

export function startWelcome() {
  byId("copy").addEventListener("click", copy);
  renderSnippet();
  state.onChange((changed) => changed.includes("site") && renderSnippet());
}

export function showWelcome(empty) {
  byId("welcome").hidden = !empty;
  document.body.classList.toggle("is-empty", empty);
}

function renderSnippet() {
  setText(byId("snippet"), `<script defer src="${TRACKER}" data-site="${state.get("site") || "default"}"></script>`);
}

async function copy() {
  const button = byId("copy");
  try {
    await navigator.clipboard.writeText(byId("snippet").textContent);
    setText(button, "Copied");
  } catch (error) {
    // No clipboard without HTTPS: select the line, so that the viewer can copy it by hand.
    if (!(error instanceof DOMException || error instanceof TypeError)) throw error;
    getSelection().selectAllChildren(byId("snippet"));
    setText(button, "Selected");
  }
  setTimeout(() => setText(button, "Copy"), 2000);
}
