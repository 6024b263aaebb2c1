// Keeps the page up to date: the server renders, this puts in place. Without it every
// page is complete as of when it was opened.

const link = document.getElementById("link");
const state = document.getElementById("link-state");
const pause = document.getElementById("pause");

let source = null; // the stream, null while there is none
let retry = 0; // timer of the next try

function say(text, on) {
  if (state.textContent !== text) state.textContent = text;
  link.toggleAttribute("data-on", on);
}

// open starts the stream. The browser tries again by itself when the connection breaks;
// what the server refuses is tried again here.
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

// renew makes an element hold what html says. The server escaped it with the same
// templates as the page, and the policy of the page runs no script that is in it.
function renew(id, html) {
  const to = document.createElement("template");
  to.innerHTML = html;
  morph(document.getElementById(id), to.content);
}

// morph makes the children of have those of want, and keeps the nodes that fit: focus,
// selection and scrolling stay where they are.
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

// A page that nobody sees costs nothing.
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

// The slash leads to the search, p pauses.
document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || e.target.closest("input, textarea, select")) return;
  const search = document.querySelector("form[role=search] input");
  if (e.key === "/" && search !== null) {
    e.preventDefault();
    search.focus();
  } else if (e.key === "p" && link !== null) toggle();
});
