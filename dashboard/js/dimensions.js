/**
 * What the panels show: pure data. A new tab or panel is one entry here, and nothing else.
 *
 * `id` of a tab is the API's dimension. `measure` is what the API sorts that dimension by. `name` turns a
 * value into words. `empty` says what would fill the tab.
 */

import { capitalised, countryName, eventName, languageName } from "./format.js";

const PAGES_EMPTY = "No page has been viewed in this period yet.";
const VISITS_EMPTY = "No visit has started in this period yet.";

const visits = { measure: "visits", column: "Visits", empty: VISITS_EMPTY };

export const PANELS = [
  {
    id: "pages",
    title: "Pages",
    tabs: [
      { id: "page", label: "Top", measure: "pageviews", column: "Views", empty: PAGES_EMPTY },
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
        name: eventName,
        empty: "No event has arrived in this period yet.",
      },
      {
        id: "conversion_type",
        label: "Conversions",
        measure: "conversions",
        column: "Count",
        empty:
          'No conversion yet. Call LiveInsight.trackConversion("signup") on your page when it happens, and it is counted here.',
      },
    ],
  },
];
