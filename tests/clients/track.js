// Lets the npm package `activecampaign` call a Tallybook.
// Standard input: {"host", "token", "actid", "key", "email", "version", "calls"}. A call is the fields
// of tracking/log, or a list of a path such as "contact/sync" and the fields.
// Standard output: a JSON list of what the package says of each call.
const { readFileSync } = require("node:fs");
const ActiveCampaign = require("activecampaign");
const Connector = require("activecampaign/lib/Connector");

const given = JSON.parse(readFileSync(0, "utf8"));
Connector.url_tracking = given.host + "/event";

const client = new ActiveCampaign(given.host, given.token);
client.track_actid = given.actid;
client.track_key = given.key;
client.track_email = given.email;
client.version(given.version);

(async () => {
  const said = [];
  for (const call of given.calls) {
    const [path, fields] = Array.isArray(call) ? call : ["tracking/log", call];
    try {
      const test = path === "credentials_test";
      said.push(await (test ? client.credentials_test() : client.api(path, fields)));
    } catch (error) {
      said.push({ rejected: String(error) });
    }
  }
  console.log(JSON.stringify(said));
})();
