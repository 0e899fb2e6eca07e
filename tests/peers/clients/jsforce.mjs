// jsforce: queries, describes, Bulk 2.0, single records, and a session that expires under it.
//
// Started as `node jsforce.mjs SETTINGS PHASE ANSWERS`; says what `driver.py` describes, one line of JSON an operation.
import { appendFileSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const [settingsPath, phase, answersPath] = process.argv.slice(2);
const settings = JSON.parse(readFileSync(settingsPath, "utf8"));
// The package is in the cache, not beside this file.
const jsforce = createRequire(path.join(settings.packages, "package.json"))("jsforce");
const folder = answersPath.replace(/\.[^.]*$/, "");
mkdirSync(folder, { recursive: true });

async function operation(name, work) {
  const answer = { operation: name };
  const begun = performance.now();
  const left = {
    read(table, shape, records, more = {}) {
      const file = path.join(folder, `${name.replace(/[ /]/g, "_")}-${readdirSync(folder).length}.json`);
      writeFileSync(file, JSON.stringify(records));
      (answer.read ??= []).push({ table, shape, records: file, fields: null, which: "live", ...more });
    },
    wrote(table, key, records) {
      (answer.wrote ??= []).push({ table, key, records });
    },
    describes(table, types) {
      (answer.describes ??= []).push({ table, types });
    },
    says(detail) {
      answer.detail = detail;
    },
    check(holds, otherwise) {
      if (!holds) throw new Error(otherwise);
    },
  };
  try {
    await work(left);
  } catch (wrong) {
    console.error(wrong);
    answer.failed = `${wrong.name}: ${wrong.message}`;
  }
  answer.seconds = Math.round((performance.now() - begun) / 100) / 10;
  appendFileSync(answersPath, JSON.stringify(answer) + "\n");
}

function soql(table, where) {
  const { object, fields } = settings.tables[table];
  return `SELECT ${fields.join(", ")} FROM ${object}${where ? ` WHERE ${where}` : ""}`;
}

function flat(record) {
  return Object.fromEntries(
    Object.entries(record)
      .filter(([name]) => name !== "attributes")
      .map(([name, value]) => [name, value && typeof value === "object" ? flat(value) : value]),
  );
}

/** A connection as a web application has it: an access token, and a refresh token for when that ends. */
async function connect() {
  const app = new jsforce.OAuth2({
    loginUrl: settings.url,
    clientId: settings.client_id,
    clientSecret: settings.client_secret,
  });
  const first = await app.refreshToken(settings.refresh_token);
  return new jsforce.Connection({
    oauth2: app,
    instanceUrl: first.instance_url,
    accessToken: first.access_token,
    refreshToken: settings.refresh_token,
    version: "62.0",
  });
}

async function reads(connection) {
  await operation("identity", async (left) => {
    const identity = await connection.identity();
    left.check(identity.username === settings.username, `it is ${identity.username}`);
    left.check(identity.organization_id === settings.org_id, `the org is ${identity.organization_id}`);
  });
  await operation("describe", async (left) => {
    for (const [table, { object }] of Object.entries(settings.tables)) {
      const described = await connection.sobject(object).describe();
      left.describes(table, Object.fromEntries(described.fields.map(({ name, type }) => [name, type])));
    }
  });
  await operation("query", async (left) => {
    for (const table of Object.keys(settings.tables)) {
      const records = await connection.query(soql(table), { autoFetch: true, maxFetch: 100_000 });
      left.read(table, "rest", records.records.map(flat));
    }
  });
  await operation("bulk2 query", async (left) => {
    // One page only: with more, jsforce ends in ERR_STREAM_WRITE_AFTER_END (its issues 1546 and 1693).
    for (const table of ["account", "user"]) {
      const stream = await connection.bulk2.query(soql(table));
      left.read(table, "csv", await stream.toArray());
    }
  });
}

async function writes(connection) {
  await operation("create, update, upsert, delete", async (left) => {
    const account = connection.sobject("Account");
    const names = ["jsforce one", "jsforce two", "jsforce three"];
    const made = await account.create(names.map((Name, at) => ({ Name, NumberOfEmployees: at })));
    left.check(made.every((one) => one.success), JSON.stringify(made));
    const changed = await account.update({ Id: made[1].id, Phone: "+49 30 1234" });
    left.check(changed.success, JSON.stringify(changed));
    const gone = await account.destroy(made[2].id);
    left.check(gone.success, JSON.stringify(gone));
    const read = await account.retrieve(made[1].id);
    left.check(read.Phone === "+49 30 1234", `the phone is ${read.Phone}`);
    const wanted = [1, 2, 3].map((at) => ({ External_Id__c: `jsforce-${at}`, Account__c: made[0].id, Seats__c: at }));
    for (const step of [0, 10]) {
      for (const record of wanted) record.Seats__c += step;
      const done = await connection.sobject("Subscription__c").upsert(wanted, "External_Id__c");
      left.check(done.every((one) => one.success), JSON.stringify(done));
    }
    left.wrote("account", "Name", [
      { Id: made[0].id, Name: names[0], NumberOfEmployees: 0 },
      { Id: made[1].id, Name: names[1], NumberOfEmployees: 1, Phone: "+49 30 1234" },
      { Name: names[2], deleted: true },
    ]);
    left.wrote("subscription__c", "External_Id__c", wanted);
  });
  await operation("bulk2 ingest", async (left) => {
    const records = Array.from({ length: 250 }, (_, at) => ({
      Name: `jsforce ingest ${at}`,
      Description: at % 2 ? `line one\nline "two", ${at}` : "NA",
    }));
    const result = await connection.bulk2.loadAndWaitForResults({ object: "Account", operation: "insert", input: records });
    left.check(result.successfulResults.length === 250, JSON.stringify(result.failedResults));
    const ids = new Map(result.successfulResults.map((row) => [row.Name, row.sf__Id]));
    left.wrote("account", "Name", records.map((record) => ({ Id: ids.get(record.Name), ...record })));
  });
  await operation("token refresh on an expired session", async (left) => {
    const before = connection.accessToken;
    let refreshed = 0;
    connection.on("refresh", () => (refreshed += 1));
    await connection.oauth2.revokeToken(before);
    const { totalSize } = await connection.query("SELECT Id FROM User");
    left.check(totalSize > 0, "no users");
    left.check(refreshed === 1, `${refreshed} refreshes`);
    left.check(connection.accessToken !== before, "the token is still the old one");
  });
}

const connection = await connect();
await { read: reads, write: writes }[phase](connection);
