// This script keeps the page up to date: it replaces the parts that the server has rendered anew.
// Without it, a page is complete and shows the state when it was opened.

const link = document.getElementById("link");
const state = document.getElementById("link-state");
const pause = document.getElementById("pause");

let source = null; // the stream of events; null while there is none
let retry = 0; // the timer of the next attempt

function say(text, on) {
  if (state.textContent !== text) state.textContent = text;
  link.toggleAttribute("data-on", on);
}

// open starts the stream. The browser reconnects by itself when the connection breaks, but not when
// the server refuses the stream; then open is called again after 5 s.
function open() {
  clearTimeout(retry);
  source = new EventSource(link.dataset.stream);
  source.addEventListener("open", () => say("live", true));
  source.addEventListener("renew", (e) => {
    for (const [id, html] of Object.entries(JSON.parse(e.data))) renew(id, html);
  });
  source.addEventListener("error", () => {
    say("not connected, trying again", false);
    if (source?.readyState === EventSource.CLOSED) {
      source = null;
      retry = setTimeout(open, 5000);
    }
  });
}

function close(text) {
  clearTimeout(retry);
  source?.close();
  source = null;
  say(text, false);
}

// renew replaces the content of an element. The server rendered the html with the same templates as
// the page, so it is escaped, and the policy of the page runs no script in it.
function renew(id, html) {
  const to = document.createElement("template");
  to.innerHTML = html;
  morph(document.getElementById(id), to.content);
}

// morph makes the children of have equal to those of want. It keeps the nodes that match, so that
// focus, selection and scrolling stay. No library is used: the pages need these few lines, and the
// policy allows no script from elsewhere.
function morph(have, want) {
  let node = have.firstChild;
  for (const next of [...want.childNodes]) {
    if (node === null) {
      have.append(next);
      continue;
    }
    const following = node.nextSibling;
    if (node.nodeType !== next.nodeType || node.nodeName !== next.nodeName) {
      node.replaceWith(next);
    } else if (node.nodeType === Node.ELEMENT_NODE) {
      attributes(node, next);
      morph(node, next);
    } else if (node.data !== next.data) {
      node.data = next.data;
    }
    node = following;
  }
  while (node !== null) {
    const following = node.nextSibling;
    node.remove();
    node = following;
  }
}

function attributes(have, want) {
  for (const { name } of [...have.attributes]) if (!want.hasAttribute(name)) have.removeAttribute(name);
  for (const { name, value } of want.attributes) if (have.getAttribute(name) !== value) have.setAttribute(name, value);
}

function toggle() {
  const paused = pause.getAttribute("aria-pressed") !== "true";
  pause.setAttribute("aria-pressed", String(paused));
  paused ? close("paused") : open();
}

// shown opens the stream if the page is visible, and closes it if not, so that a hidden page costs
// nothing.
function shown() {
  if (pause.getAttribute("aria-pressed") === "true") return;
  if (document.hidden) close("asleep");
  else if (source === null) open();
}

if (link !== null) {
  link.hidden = false;
  pause.addEventListener("click", toggle);
  document.addEventListener("visibilitychange", shown);
  addEventListener("pageshow", (e) => e.persisted && shown());
  addEventListener("pagehide", () => close("asleep"));
  shown();
}

// The key / focuses the search field, and p pauses the stream.
document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || e.target.closest("input, textarea, select")) return;
  const search = document.querySelector("form[role=search] input");
  if (e.key === "/" && search !== null) {
    e.preventDefault();
    search.focus();
  } else if (e.key === "p" && link !== null) toggle();
});
