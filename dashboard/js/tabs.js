/**
 * A tab list after the ARIA pattern: one stop for Tab, arrows, Home and End move and choose.
 *
 * In: the tabs, the chosen one, what to do on a choice. Out: the list's element and `select`.
 */

import { el, setAttribute } from "./dom.js";

export function createTabs({ label, tabs, panelId, onSelect }) {
  const buttons = tabs.map((tab) =>
    el(
      "button",
      { type: "button", role: "tab", id: `${panelId}-${tab.id}`, "aria-controls": panelId, "data-tab": tab.id },
      tab.label,
    ),
  );
  const list = el("div", { class: "tabs", role: "tablist", "aria-label": label }, ...buttons);
  list.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (tab) onSelect(tab.dataset.tab);
  });
  list.addEventListener("keydown", (event) => {
    const at = buttons.indexOf(document.activeElement);
    const last = buttons.length - 1;
    const next = { ArrowRight: at === last ? 0 : at + 1, ArrowLeft: at === 0 ? last : at - 1, Home: 0, End: last }[
      event.key
    ];
    if (at < 0 || next === undefined) return;
    event.preventDefault();
    buttons[next].focus();
    onSelect(buttons[next].dataset.tab);
  });
  return {
    list,
    select(id) {
      for (const button of buttons) {
        const chosen = button.dataset.tab === id;
        setAttribute(button, "aria-selected", chosen);
        setAttribute(button, "tabindex", chosen ? 0 : -1);
      }
    },
  };
}
