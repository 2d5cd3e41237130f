"use strict";
// Fetches the inner part of an element again every few seconds: <div data-refresh="5" data-source="?part=1">.
// It ends when the part holds data-refresh-end, and rests while the page is not seen.
{
  const refresh = async (element) => {
    const answer = await fetch(element.dataset.source, { credentials: "same-origin", redirect: "error" });
    if (!answer.ok) {
      throw new Error(answer.status);
    }
    const text = await answer.text();
    if (element.querySelector(":active")) {
      return; // someone is pressing a button in there
    }
    const focused = element.contains(document.activeElement) ? document.activeElement.id : "";
    element.innerHTML = text;
    if (focused) {
      document.getElementById(focused)?.focus();
    }
  };
  const keepFresh = (element) => {
    const seconds = Number(element.dataset.refresh);
    const again = async () => {
      if (!document.hidden) {
        try {
          await refresh(element);
          element.removeAttribute("data-refresh-failed");
        } catch {
          element.setAttribute("data-refresh-failed", "");
        }
      }
      if (!element.querySelector("[data-refresh-end]")) {
        setTimeout(again, seconds * 1000);
      }
    };
    if (!element.querySelector("[data-refresh-end]")) {
      setTimeout(again, seconds * 1000);
    }
  };
  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("[data-refresh]").forEach(keepFresh);
  });
}
