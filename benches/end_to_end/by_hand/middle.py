"""The joins and verdicts of the three jobs in DuckDB: what each row of Salesforce means for the tenant.

A verdict is `insert`, `update`, `unchanged` or `rejected` with a code; the rules are those of the out-of-the-box jobs:
ids compare exactly, e-mail addresses and user names trimmed and without case, blank never matches.
"""

# What the tenant holds, each key once. `hits` above one is ambiguous.
PEOPLE_INDEXES = """
CREATE OR REPLACE TEMP TABLE company AS
SELECT SfdcAccountId AS account, min(Gsid) AS gsid, count(*) AS hits
FROM mirror_company WHERE SfdcAccountId <> '' GROUP BY 1;

CREATE OR REPLACE TEMP TABLE person AS
SELECT lower(trim(Email)) AS key, min(Gsid) AS gsid, count(*) AS hits,
       nullif(any_value(FirstName), '') AS first_name, nullif(any_value(LastName), '') AS last_name
FROM mirror_person WHERE trim(Email) <> '' GROUP BY 1;

CREATE OR REPLACE TEMP TABLE company_person AS
SELECT Person_ID AS person, Company_ID AS company, min(Gsid) AS gsid, count(*) AS hits,
       nullif(any_value(ExternalContactId), '') AS contact, nullif(any_value(ExternalAccountId), '') AS account,
       nullif(any_value(Manager), '') AS manager
FROM mirror_company_person WHERE Person_ID <> '' AND Company_ID <> '' GROUP BY 1, 2;

CREATE OR REPLACE TEMP TABLE manager AS
SELECT ExternalContactId AS contact, ExternalAccountId AS account, min(Gsid) AS gsid
FROM mirror_company_person WHERE ExternalContactId <> '' AND ExternalAccountId <> '' GROUP BY 1, 2;
"""

PEOPLE_VERDICTS = """
WITH mapped AS MATERIALIZED (
  SELECT Id AS source_id, SystemModstamp AS modified, nullif(lower(trim(Email)), '') AS key, trim(Email) AS email,
         nullif(FirstName, '') AS first_name, nullif(LastName, '') AS last_name,
         nullif(AccountId, '') AS account, nullif(ReportsToId, '') AS reports_to
  FROM contact
),
found AS MATERIALIZED (
  SELECT m.*, c.gsid AS company_gsid, c.hits AS company_hits, p.gsid AS person_gsid, p.hits AS person_hits,
         r.gsid, r.hits, g.gsid AS manager_gsid,
         p.first_name AS first_now, p.last_name AS last_now,
         r.contact AS contact_now, r.account AS account_now, r.manager AS manager_now,
         coalesce(m.reports_to = m.source_id OR g.gsid = r.gsid, false) AS own
  FROM mapped m
  LEFT JOIN company c ON c.account = m.account
  LEFT JOIN person p ON p.key = m.key
  LEFT JOIN company_person r ON r.person = p.gsid AND r.company = c.gsid
  LEFT JOIN manager g ON g.contact = m.reports_to AND g.account = m.account
),
-- Only rows that share their person with another row need the windows.
twins AS MATERIALIZED (SELECT key FROM mapped WHERE key IS NOT NULL GROUP BY key HAVING count(*) > 1),
ranked AS (
  SELECT *, CASE WHEN company_hits = 1 THEN nullif(first_value(source_id) OVER (
      PARTITION BY key, company_gsid ORDER BY modified DESC NULLS LAST, source_id DESC), source_id) END AS duplicate_of
  FROM found SEMI JOIN twins USING (key)
),
twin_verdicts AS (
  SELECT source_id, duplicate_of, count(*) FILTER (WHERE good) OVER person AS person_rows,
         row_number() OVER (person ORDER BY good DESC, modified DESC NULLS LAST, source_id DESC) = 1 AS person_winner
  FROM (SELECT *, coalesce(company_hits = 1, false) AND duplicate_of IS NULL AND coalesce(person_hits, 1) = 1
                  AND coalesce(hits, 1) = 1 AS good FROM ranked)
  WINDOW person AS (PARTITION BY key)
),
judged AS (
  SELECT f.*, coalesce(t.person_rows, 1) AS person_rows, coalesce(t.person_winner, true) AS person_winner,
    CASE
      WHEN f.key IS NULL THEN 'BLANK_IDENTIFIER'
      WHEN company_hits > 1 THEN 'LOOKUP_MULTIPLE'
      WHEN company_gsid IS NULL THEN 'LOOKUP_NO_MATCH'
      WHEN t.duplicate_of IS NOT NULL THEN 'DUPLICATE_IN_SOURCE'
      WHEN person_hits > 1 OR hits > 1 THEN 'AMBIGUOUS_TARGET'
    END AS code,
    CASE WHEN NOT own THEN manager_gsid END AS manager_set,
    manager_gsid IS NULL AND NOT own AND reports_to IS NOT NULL AND f.account IS NOT NULL AS waits
  FROM found f LEFT JOIN twin_verdicts t USING (source_id)
),
compared AS (
  SELECT *,
    person_winner AND first_name IS DISTINCT FROM first_now AS new_first,
    person_winner AND last_name IS DISTINCT FROM last_now AS new_last,
    source_id IS DISTINCT FROM contact_now AS new_contact,
    account IS DISTINCT FROM account_now AS new_account,
    NOT waits AND manager_set IS DISTINCT FROM manager_now AS new_manager
  FROM judged
)
SELECT source_id,
  CASE WHEN code IS NOT NULL THEN 'rejected' WHEN gsid IS NULL THEN 'insert'
       WHEN new_first OR new_last OR new_contact OR new_account OR new_manager THEN 'update'
       ELSE 'unchanged' END AS verdict,
  code, gsid, person_gsid, key, email, first_name, last_name, account, company_gsid, manager_set, waits, reports_to,
  person_rows, person_winner, new_first, new_last, new_contact, new_account, new_manager
FROM compared
"""

# A person is one record with its companies. Only what differs is sent; nulls are left out of what is new.
PEOPLE_RECORDS = """
WITH written AS (
  SELECT *,
    person_gsid IS NULL AS new_person,
    concat_ws(',',
      '"Company_ID":"' || company_gsid || '"',
      CASE WHEN verdict = 'insert' OR new_contact THEN '"ExternalContactId":"' || source_id || '"' END,
      CASE WHEN verdict = 'insert' OR new_account THEN '"ExternalAccountId":"' || account || '"' END,
      CASE WHEN new_manager THEN coalesce('"Manager":"' || manager_set || '"',
                                          CASE WHEN verdict = 'update' THEN '"Manager":null' END) END) AS company_json,
    concat_ws(',',
      '"Email":' || to_json(email),
      CASE WHEN new_first AND (first_name IS NOT NULL OR person_gsid IS NOT NULL)
           THEN '"FirstName":' || coalesce(to_json(first_name), 'null') END,
      CASE WHEN new_last AND (last_name IS NOT NULL OR person_gsid IS NOT NULL)
           THEN '"LastName":' || coalesce(to_json(last_name), 'null') END) AS person_json
  FROM verdict WHERE verdict IN ('insert', 'update')
),
records AS (
  SELECT '{' || person_json || ',"companies":[{' || company_json || '}]}' AS record FROM written WHERE person_rows = 1
  UNION ALL
  SELECT '{' || arg_max(person_json, person_winner::INT) || ',"companies":[{' || string_agg(company_json, '},{') || '}]}'
  FROM written WHERE person_rows > 1 GROUP BY key
)
SELECT record FROM records
"""

# The managers that this run made: a second look at the company persons, and one more call for each.
MANAGER_RECORDS = """
WITH own AS (SELECT Gsid, ExternalContactId AS contact, ExternalAccountId AS account FROM again
             WHERE ExternalContactId <> '' AND ExternalAccountId <> ''),
manager AS (SELECT contact, account, min(Gsid) AS gsid FROM own GROUP BY 1, 2),
answers AS (
  SELECT v.key, v.email, v.company_gsid, m.gsid
  FROM verdict v
  JOIN manager m ON m.contact = v.reports_to AND m.account = v.account
  JOIN manager me ON me.contact = v.source_id AND me.account = v.account
  WHERE v.waits AND v.verdict <> 'rejected' AND m.gsid <> me.gsid
)
SELECT '{"Email":' || to_json(any_value(email)) || ',"companies":[{'
       || string_agg('"Company_ID":"' || company_gsid || '","Manager":"' || gsid || '"', '},{') || '}]}' AS record
FROM answers GROUP BY key
"""

COMPANIES = """
CREATE OR REPLACE TEMP TABLE verdict AS
SELECT a.Id AS source_id, a.Name AS name, a.NumberOfEmployees AS employees,
  CASE WHEN length(a.Name) > 250 THEN 'rejected'
       WHEN m.hits > 1 THEN 'rejected'
       WHEN m.gsid IS NULL THEN 'insert'
       WHEN nullif(a.Name, '') IS DISTINCT FROM m.name OR a.NumberOfEmployees IS DISTINCT FROM m.employees THEN 'update'
       ELSE 'unchanged' END AS verdict,
  CASE WHEN length(a.Name) > 250 THEN 'VALUE_TOO_LONG' WHEN m.hits > 1 THEN 'AMBIGUOUS_TARGET' END AS code
FROM account a
LEFT JOIN (SELECT SfdcAccountId AS id, min(Gsid) AS gsid, count(*) AS hits, nullif(any_value(Name), '') AS name,
                  try_cast(any_value(Employees) AS BIGINT) AS employees
           FROM mirror_company WHERE SfdcAccountId <> '' GROUP BY 1) m ON m.id = a.Id
"""

COMPANY_ROWS = (
    "SELECT source_id AS SfdcAccountId, name AS Name, employees AS Employees FROM verdict "
    "WHERE verdict IN ('insert', 'update')"
)

USERS = """
CREATE OR REPLACE TEMP TABLE verdict AS
WITH held AS (
  SELECT lower(trim(SFDCUserName)) AS key, count(*) AS hits, any_value(COLUMNS(*)) FROM mirror_gsuser
  WHERE trim(SFDCUserName) <> '' GROUP BY 1
),
manager AS (SELECT SfdcUserId AS id, min(Gsid) AS gsid FROM mirror_gsuser WHERE SfdcUserId <> '' GROUP BY 1)
SELECT u.*, h.Gsid AS gsid, CASE WHEN g.gsid <> coalesce(h.Gsid, '') THEN g.gsid END AS manager,
  nullif(u.ManagerId, '') IS NOT NULL AND g.gsid IS NULL AND u.ManagerId <> u.Id AS waits,
  CASE WHEN nullif(trim(u.Username), '') IS NULL OR h.hits > 1 THEN 'rejected'
       WHEN h.Gsid IS NULL THEN 'insert'
       WHEN nullif(u.FirstName, '') IS DISTINCT FROM nullif(h.FirstName, '')
         OR nullif(u.LastName, '') IS DISTINCT FROM nullif(h.LastName, '')
         OR nullif(u.Email, '') IS DISTINCT FROM nullif(h.Email, '')
         OR nullif(u.TimeZoneSidKey, '') IS DISTINCT FROM nullif(h.Timezone, '')
         OR nullif(u.LocaleSidKey, '') IS DISTINCT FROM nullif(h.Locale, '')
         OR nullif(u.Title, '') IS DISTINCT FROM nullif(h.Title, '')
         OR u.Id IS DISTINCT FROM h.SfdcUserId
         OR (g.gsid IS NOT NULL AND g.gsid IS DISTINCT FROM nullif(h.Manager, '')) THEN 'update'
       ELSE 'unchanged' END AS verdict,
  CASE WHEN nullif(trim(u.Username), '') IS NULL THEN 'BLANK_IDENTIFIER' WHEN h.hits > 1 THEN 'AMBIGUOUS_TARGET' END AS code
FROM "user" u
LEFT JOIN held h ON h.key = lower(trim(u.Username))
LEFT JOIN manager g ON g.id = u.ManagerId
"""

USER_RECORDS = """
SELECT gsid, concat('{', concat_ws(',',
  '"Gsid":"' || gsid || '"',
  '"FirstName":' || to_json(FirstName), '"LastName":' || to_json(LastName), '"Email":' || to_json(Email),
  '"Timezone":' || to_json(TimeZoneSidKey), '"SFDCUserName":' || to_json(trim(Username)),
  '"Locale":' || to_json(LocaleSidKey), '"Title":' || to_json(Title), '"SfdcUserId":"' || Id || '"',
  '"Manager":"' || manager || '"'), '}') AS record
FROM verdict WHERE verdict = ?
"""

USER_MANAGERS = """
WITH own AS (SELECT SfdcUserId AS id, min(Gsid) AS gsid FROM again WHERE SfdcUserId <> '' GROUP BY 1)
SELECT '{"Gsid":"' || me.gsid || '","Manager":"' || m.gsid || '"}' AS record
FROM verdict v JOIN own me ON me.id = v.Id JOIN own m ON m.id = v.ManagerId
WHERE v.waits AND v.verdict <> 'rejected'
"""
