// Lets the npm package `activecampaign` call the event call of a Tallybook.
// Standard input: {"url", "actid", "key", "email", "version", "calls": [fields of tracking/log, …]}.
// Standard output: a JSON list of what the package says of each call.
const { readFileSync } = require("node:fs");
const ActiveCampaign = require("activecampaign");
const Connector = require("activecampaign/lib/Connector");

const given = JSON.parse(readFileSync(0, "utf8"));
Connector.url_tracking = given.url;

const client = new ActiveCampaign("https://account.example", "an api key");
client.track_actid = given.actid;
client.track_key = given.key;
client.track_email = given.email;
client.version(given.version);

(async () => {
  const said = [];
  for (const fields of given.calls) {
    try {
      said.push(await client.api("tracking/log", fields));
    } catch (error) {
      said.push({ rejected: String(error) });
    }
  }
  console.log(JSON.stringify(said));
})();
