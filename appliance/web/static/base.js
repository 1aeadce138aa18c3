/* Where this page is: the device may be behind a proxy, below a path of another host. */

const meta = (name) => document.querySelector(`meta[name=${name}]`).content;

/** The address of a route of the device, such as "api/state". */
export const urlOf = (route) => meta("base") + route;

// The device refuses changes and WebSockets of pages with another origin than it knows.
const banner = document.getElementById("proxy-banner");
if (banner) banner.hidden = meta("origin").toLowerCase() === location.origin.toLowerCase();
