// Refreshes each element with data-refresh, its URL, every data-seconds. An element in it with
// data-ended ends that, and the page is loaded again.
"use strict";
for (const place of document.querySelectorAll("[data-refresh]")) {
  const seconds = Number(place.dataset.seconds);
  const status = document.getElementById(`${place.id}-status`);

  async function refresh() {
    // The page is hidden, or the admin user is working in it.
    if (document.hidden || place.contains(document.activeElement)) return;
    try {
      const answer = await fetch(place.dataset.refresh, { headers: { Accept: "text/html" } });
      if (answer.redirected) {
        clearInterval(timer);
        status.textContent = "You are logged out: this is no longer refreshed.";
        return;
      }
      if (!answer.ok) throw new Error(answer.status);
      place.innerHTML = await answer.text();
      status.textContent = "";
    } catch {
      status.textContent = `Tallybook does not answer; trying again in ${seconds} seconds.`;
      return;
    }
    if (place.querySelector("[data-ended]")) location.reload();
  }
  const timer = place.querySelector("[data-ended]") ? 0 : setInterval(refresh, seconds * 1000);
}
