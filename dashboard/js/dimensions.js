/**
 * What the panels show: pure data. A new tab or panel is one entry here, and nothing else.
 *
 * `id` of a tab is the API's dimension. `measure` is what the API sorts that dimension by, `also` what stands
 * beside it (`wide`: where there is room). `name` turns a value into words. `empty` says what would fill the tab.
 */

import {
  capitalised,
  countryName,
  eventName,
  formatPercent,
  formatShort,
  languageName,
  reasonName,
} from "./format.js";

const PAGES_EMPTY = "No page has been viewed in this period yet.";
const VISITS_EMPTY = "No visit has started in this period yet.";

const VISITORS = { field: "visitors", column: "Visitors", format: formatShort };
const DEPTH = {
  field: "scroll_percent",
  column: "Scrolled",
  format: (percent) => formatPercent(percent === null ? null : percent / 100),
  wide: true,
};

const visits = { measure: "visits", column: "Visits", also: [VISITORS], empty: VISITS_EMPTY };

/** Who is here now, by these dimensions of the live answer. */
export const PRESENT = [
  { id: "page", label: "Pages" },
  { id: "source", label: "Sources" },
  { id: "country", label: "Countries", name: countryName },
];

export const PANELS = [
  {
    id: "pages",
    title: "Pages",
    tabs: [
      { id: "page", label: "Top", measure: "pageviews", column: "Views", also: [VISITORS, DEPTH], empty: PAGES_EMPTY },
      { id: "entry_page", label: "Entry", ...visits, empty: PAGES_EMPTY },
      { id: "exit_page", label: "Exit", ...visits, empty: PAGES_EMPTY },
    ],
  },
  {
    id: "sources",
    title: "Sources",
    tabs: [
      { id: "channel", label: "Channels", ...visits },
      { id: "source", label: "Sources", ...visits },
      {
        id: "utm_campaign",
        label: "Campaigns",
        ...visits,
        empty: "No visit came from a campaign. Add ?utm_campaign=spring to the links you share, and it appears here.",
      },
    ],
  },
  {
    id: "places",
    title: "Places & devices",
    tabs: [
      { id: "country", label: "Countries", ...visits, name: countryName },
      { id: "device", label: "Devices", ...visits, name: capitalised },
      { id: "browser", label: "Browsers", ...visits },
      { id: "os", label: "OS", ...visits },
      { id: "language", label: "Languages", ...visits, name: languageName },
    ],
  },
  {
    id: "events",
    title: "Events",
    tabs: [
      {
        id: "event",
        label: "All events",
        measure: "events",
        column: "Events",
        also: [VISITORS],
        name: eventName,
        empty: "No event has arrived in this period yet.",
      },
      {
        id: "conversion_type",
        label: "Conversions",
        measure: "conversions",
        column: "Count",
        also: [VISITORS],
        empty:
          'No conversion yet. Call LiveInsight.trackConversion("signup") on your page when it happens, and it is counted here.',
      },
      {
        id: "dropped",
        label: "Not counted",
        measure: "events",
        column: "Events",
        also: [],
        name: reasonName,
        empty: "Everything that arrived in this period was counted. Bots, repeats and refused events would be listed here.",
      },
    ],
  },
];
