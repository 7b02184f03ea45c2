/** On the sign-in page inside a framed H5 page: choose the person whose phone or client holds the frame. */

const PREFIX = "visitor:";

if (window.name.startsWith(PREFIX)) {
  const who = window.name.slice(PREFIX.length);
  const mine = [...document.querySelectorAll("[data-visitor]")].find((link) => link.dataset.visitor === who);
  if (mine) window.location.replace(mine.href);
}
