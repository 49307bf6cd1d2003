"use strict";
/* A table that is wider than the page is scrolled in a box; such a box is reached by the keyboard, and named. */
document.addEventListener("DOMContentLoaded", () => {
  const label = document.documentElement.lang === "ko" ? "옆으로 넘기는 표" : "a table that scrolls sideways";
  const reach = (box) => {
    const needed = box.scrollWidth > box.clientWidth && !box.querySelector("[tabindex]");
    for (const [name, value] of [["tabindex", "0"], ["role", "region"], ["aria-label", label]])
      if (needed) box.setAttribute(name, value); else box.removeAttribute(name);
  };
  const seen = new ResizeObserver((entries) => entries.forEach((entry) => reach(entry.target)));
  const find = () => document.querySelectorAll(".md-typeset__scrollwrap").forEach((box) => seen.observe(box));
  new MutationObserver(find).observe(document.querySelector(".md-content"), { childList: true, subtree: true }); // the theme makes the boxes
  find();
});
