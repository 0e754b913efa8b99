// Keeps a page live: fetches its main part again and again and changes what differs, in place, so that focus, scroll
// and whatever is unfolded stay. Without it the page works and is refreshed by the browser.
"use strict";

(() => {
  const PERIOD = 1000; // Between two looks, in milliseconds.
  const PERIOD_MAX = 30000; // The longest pause while there is no connection.
  const TIMEOUT = 10000; // An answer that takes longer is none.
  const SPARE = 4; // Pauses are at least this many times as long as fetching and drawing took.
  const NAMED = 3; // A screen reader is told so many names, then only a number.

  const pace = document.getElementById("pace");
  const lost = document.getElementById("lost");
  const news = document.getElementById("news");
  let timer = 0;
  let failures = 0;
  let since = "";
  let busy = false;

  const address = new URL(location.href);
  address.searchParams.set("part", "main");
  address.hash = "";

  async function look() {
    if (busy || document.hidden) return;
    busy = true;
    const begun = performance.now();
    try {
      const fresh = await fetchMain();
      if (fresh.dataset.edition !== main().dataset.edition) {
        location.reload(); // The program was replaced: its style and script may be others.
        return;
      }
      const before = states();
      morph(main(), fresh);
      document.title = fresh.dataset.title;
      announce(before, states());
      recovered();
      next(Math.max(PERIOD, SPARE * (performance.now() - begun)));
    } catch (error) {
      failed(error);
      next(Math.min(PERIOD_MAX, PERIOD * 2 ** Math.min(failures, 10)));
    } finally {
      busy = false;
    }
  }

  const main = () => document.getElementById("main");

  async function fetchMain() {
    const response = await fetch(address, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT) });
    if (!response.ok) throw new Error(`it answers with status ${response.status}`);
    const text = await response.text();
    const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("main");
    if (!fresh) throw new Error("it answers with something else");
    return fresh;
  }

  function next(pause) {
    clearTimeout(timer);
    timer = setTimeout(look, pause);
  }

  // Makes `old` like `fresh`, keeping every node that is still the same thing. Things with an id are found again
  // wherever they moved to; the others by their place.
  function morph(old, fresh) {
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !isReaders(old, name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value && !isReaders(old, name)) old.setAttribute(name, value);
    }
    const known = new Map();
    for (const child of old.children) if (child.id) known.set(child.id, child);
    let place = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      let child = wanted.id ? known.get(wanted.id) : place;
      if (child && isSame(child, wanted)) {
        if (child === place) place = place.nextSibling;
        else old.insertBefore(child, place);
        if (child.nodeType === Node.ELEMENT_NODE) morph(child, wanted);
        else if (child.nodeValue !== wanted.nodeValue) child.nodeValue = wanted.nodeValue;
      } else {
        old.insertBefore(document.importNode(wanted, true), place);
      }
    }
    while (place) {
      const gone = place;
      place = place.nextSibling;
      gone.remove();
    }
  }

  const isSame = (one, other) => one.nodeType === other.nodeType && one.nodeName === other.nodeName && (one.id || "") === (other.id || "");

  // What the reader has set: unfolded or not.
  const isReaders = (element, name) => name === "open" && element.nodeName === "DETAILS";

  // Every thing that has a state worth telling: its name and its state, by id.
  function states() {
    const found = new Map();
    for (const { id, dataset } of main().querySelectorAll("[data-state]")) {
      found.set(id, { name: dataset.name, state: dataset.state });
    }
    return found;
  }

  function announce(before, now) {
    const changes = [...now].filter(([id, { state }]) => before.has(id) && before.get(id).state !== state);
    if (changes.length === 0) return;
    const said = changes.slice(0, NAMED).map(([, { name, state }]) => `${name} is now ${state}.`);
    if (changes.length > NAMED) said.push(`${changes.length - NAMED} more changed.`);
    news.textContent = said.join(" ");
  }

  function recovered() {
    failures = 0;
    if (!lost.hidden) {
      lost.hidden = true;
      lost.textContent = "";
      document.body.classList.remove("is-lost");
    }
    tell("Live");
  }

  function failed(error) {
    failures += 1;
    if (failures === 1) since = new Date().toLocaleTimeString();
    const text = `No connection since ${since}: ${reason(error)}. What you see is from before that.`;
    if (lost.textContent === text) return; // Said once, not at every try.
    lost.textContent = text;
    lost.hidden = false;
    document.body.classList.add("is-lost");
    tell("Trying again");
  }

  function reason(error) {
    if (error.name === "TimeoutError") return "the gateway takes too long to answer";
    return error instanceof TypeError ? "the gateway cannot be reached" : error.message;
  }

  function tell(text) {
    if (pace.textContent !== text) pace.textContent = text;
  }

  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (!document.hidden) look();
  });
  window.addEventListener("online", look);

  tell("Live");
  next(PERIOD);
})();
