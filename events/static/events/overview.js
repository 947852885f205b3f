// Refreshes the overview on the admin's first page every 30 seconds.
"use strict";
{
  const SECONDS = 30;
  const place = document.getElementById("overview");
  const status = document.getElementById("overview-status");

  async function refresh() {
    // The page is hidden, or the admin user is working in it.
    if (document.hidden || place.contains(document.activeElement)) return;
    try {
      const answer = await fetch(place.dataset.url, { headers: { Accept: "text/html" } });
      if (answer.redirected) {
        clearInterval(timer);
        status.textContent = "You are logged out: this is no longer refreshed.";
        return;
      }
      if (!answer.ok) throw new Error(answer.status);
      place.innerHTML = await answer.text();
      status.textContent = "";
    } catch {
      status.textContent = "Tallybook does not answer; trying again in 30 seconds.";
    }
  }
  const timer = setInterval(refresh, SECONDS * 1000);
}
