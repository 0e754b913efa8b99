// Keeps a page live: fetches its main part again and again and changes what differs, in place, so that focus, scroll
// and whatever is unfolded stay. A filter, an order or a fold changes the address, which is fetched from then on: what is
// shown is decided by the server alone. Without this script the page works and is refreshed by the browser.
"use strict";

(() => {
  const PERIOD = 1000; // Between two looks, in milliseconds.
  const PERIOD_HIDDEN = 60000; // The same while only the tab's title is seen: it counts what is wrong.
  const PERIOD_MAX = 30000; // The longest pause while there is no connection.
  const TIMEOUT = 10000; // An answer that takes longer is none.
  const SPARE = 4; // Pauses are at least this many times as long as fetching and drawing took.
  const TYPING = 250; // After the last key of a filter, in milliseconds.
  const NAMED = 3; // A screen reader is told so many names, then only a number.

  const pace = document.getElementById("pace");
  const lost = document.getElementById("lost");
  const news = document.getElementById("news");
  let timer = 0;
  let failures = 0;
  let since = "";
  let busy = false;
  let typing = 0;
  let chosen = false; // A view was chosen outside of the form, which is to show it.

  // What is folded is the reader's; the server needs to know it only when the page is opened anew.
  function address() {
    const here = new URL(location.href);
    here.searchParams.delete("fold");
    here.searchParams.set("part", "main");
    here.hash = "";
    return here.href;
  }

  async function look() {
    if (busy) return;
    busy = true;
    const begun = performance.now();
    const wanted = address();
    try {
      const fresh = await fetchMain(wanted);
      if (wanted !== address()) return next(0); // Another view was chosen meanwhile.
      if (fresh.dataset.edition !== main().dataset.edition) {
        location.reload(); // The program was replaced: its style and script may be others.
        return;
      }
      const [before, focused] = [states(), document.activeElement];
      morph(main(), fresh);
      // What is moved loses the focus.
      if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
      if (chosen) document.getElementById("view")?.reset();
      chosen = false;
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

  async function fetchMain(wanted) {
    const response = await fetch(wanted, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT) });
    if (!response.ok) throw new Error(`it answers with status ${response.status}`);
    const text = await response.text();
    const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("main");
    if (!fresh) throw new Error("it answers with something else");
    return fresh;
  }

  function next(pause) {
    clearTimeout(timer);
    timer = setTimeout(look, document.hidden ? Math.max(PERIOD_HIDDEN, pause) : pause);
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

  // Another view of the same page.
  function show(url, change) {
    if (url.href === location.href) return;
    history[change](null, "", url);
    clearTimeout(timer);
    look(); // Where one is under way, it sees the new address and is followed by another.
  }

  // The form as an address: only what is not the default, as the server writes it.
  function viewOf(form) {
    const url = new URL(location.href);
    for (const control of form.elements) {
      if (!control.name || control.type === "hidden") continue;
      const value = control.value.trim();
      const isDefault = value === "" || (control.nodeName === "SELECT" && control.selectedIndex === 0);
      if (isDefault) url.searchParams.delete(control.name);
      else url.searchParams.set(control.name, value);
    }
    return url;
  }

  const formOf = event => event.target.closest("form#view");

  document.addEventListener("submit", event => {
    const form = formOf(event);
    if (!form) return;
    event.preventDefault();
    show(viewOf(form), "pushState");
  });

  document.addEventListener("input", event => {
    const form = formOf(event);
    if (!form) return;
    clearTimeout(typing);
    // A choice is a step back; each letter is none.
    if (event.target.nodeName === "SELECT") show(viewOf(form), "pushState");
    else typing = setTimeout(() => show(viewOf(form), "replaceState"), TYPING);
  });

  document.addEventListener("click", event => {
    const link = event.target.closest("main a[href]");
    const isPlain = event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
    if (!link || !isPlain || link.origin !== location.origin || link.pathname !== location.pathname) return;
    const [url, here] = [new URL(link.href), new URL(location.href)];
    if (url.hash || url.searchParams.get("bus") !== here.searchParams.get("bus")) return;
    event.preventDefault();
    const fold = here.searchParams.get("fold");
    if (fold) url.searchParams.set("fold", fold);
    chosen = true;
    show(url, "pushState");
  });

  window.addEventListener("popstate", () => {
    chosen = true;
    clearTimeout(timer);
    look();
  });

  // Which sections are folded stands in the address, so that it can be kept.
  document.addEventListener("toggle", event => {
    if (!event.target.dataset?.fold) return;
    const url = new URL(location.href);
    const folded = new Set((url.searchParams.get("fold") ?? "").split(".").filter(Boolean));
    for (const { open, dataset } of document.querySelectorAll("details[data-fold]")) {
      if (open) folded.delete(dataset.fold);
      else folded.add(dataset.fold);
    }
    if (folded.size) url.searchParams.set("fold", [...folded].sort().join("."));
    else url.searchParams.delete("fold");
    if (url.href !== location.href) history.replaceState(null, "", url);
  }, true);

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
    if (document.hidden) next(PERIOD_HIDDEN);
    else look();
  });
  window.addEventListener("online", look);

  tell("Live");
  next(PERIOD);
})();
