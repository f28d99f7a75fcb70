"""What the pages of the tracker's tests hold, do and store."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

BUTTONS = """
<button id=buy class="primary wide"><span id=inner>  Buy
   now </span></button>
<a id=link href="#further">Further down</a>
<input id=send type=submit value="Send it"><span id=fake role=button aria-label="Close"></span>
<input id=text type=text><div id=plain>Just text</div>
<div id=host></div>
"""
"""Everything that can be clicked."""

HIDE = """(hidden) => {
  const value = hidden ? 'hidden' : 'visible';
  Object.defineProperty(document, 'visibilityState', {value, configurable: true});
  document.dispatchEvent(new Event('visibilitychange'));
}"""
"""Hides the page, or shows it."""


def stored(page: Page) -> list[str]:
    """Keys of what the tracker has stored in the browser."""
    keys: list[str] = page.evaluate("[...Object.keys(localStorage), ...Object.keys(sessionStorage)].sort()")
    return keys
