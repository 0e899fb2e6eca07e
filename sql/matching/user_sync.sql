-- User Sync (user_sync): what each row of User means for gsuser in Gainsight
WITH
-- Every cell at its target's type (bad.*: as text, if it does not convert), and the keys as they compare: blank is NULL.
mapped AS (
  SELECT
    "Id" AS source_id,
    "SystemModstamp" AS modified,
    match_text("Username") AS key_1,
    nullif("FirstName", '') AS "set.gsuser.FirstName",
    nullif("LastName", '') AS "set.gsuser.LastName",
    trim_text("Email") AS "set.gsuser.Email",
    nullif("TimeZoneSidKey", '') AS "set.gsuser.Timezone",
    nullif("Username", '') AS "set.gsuser.SFDCUserName",
    nullif("LocaleSidKey", '') AS "set.gsuser.Locale",
    nullif("Title", '') AS "set.gsuser.Title",
    match_id("Id") AS "set.avatar.SfdcUserId",
    match_id("ManagerId") AS lookup_1_1,
    coalesce(match_id("ManagerId") = match_id("Id"), FALSE) AS own_1,
    key_hash(match_id("Id")) AS becomes_1,
    match_id("Id") AS own_1_1
  FROM source
),

-- gsuser.Manager: the gsuser records by SfdcUserId. (worked out first)
lookup_1_all AS (
  SELECT
    match_id("SfdcUserId") AS lookup_1_1,
    "Gsid" AS gsid
  FROM "mirror_gsuser"
),

-- Numbers of keys that several rows may have. (worked out first)
lookup_1_suspects AS (
  SELECT unnest(repeated(key_hash(lookup_1_1))) AS number FROM lookup_1_all
),

-- Of several records with one key the lowest GSID counts. (worked out first)
lookup_1_several AS (
  SELECT a.lookup_1_1, min(a.gsid) AS gsid
  FROM (SELECT lookup_1_1 FROM lookup_1_all WHERE key_hash(lookup_1_1) IN (SELECT number FROM lookup_1_suspects) GROUP BY lookup_1_1 HAVING count(*) > 1) s
  JOIN lookup_1_all a ON s.lookup_1_1 = a.lookup_1_1
  GROUP BY a.lookup_1_1
),

-- So each key once.
lookup_1 AS (
  SELECT a.lookup_1_1, a.gsid
  FROM lookup_1_all a WHERE NOT EXISTS (SELECT 1 FROM lookup_1_several s WHERE s.lookup_1_1 = a.lookup_1_1)
  UNION ALL
  SELECT lookup_1_1, gsid FROM lookup_1_several
),

-- Numbers of keys that several rows may have. (worked out first)
rows_suspects AS (
  SELECT unnest(repeated(key_hash(key_1))) AS number FROM mapped
),

-- Of several rows with one key the newest counts, then the higher Id. (worked out first)
ranked AS (
  SELECT m.source_id, nullif(first_value(m.source_id) OVER (
      PARTITION BY m.key_1 ORDER BY m.modified DESC NULLS LAST, m.source_id DESC), m.source_id) AS duplicate_of
  FROM rows_suspects s JOIN mapped m ON s.number = key_hash(m.key_1)
),

-- The gsuser records of Gainsight by key. (worked out first)
records_all AS (
  SELECT
    match_text("SFDCUserName") AS key_1,
    "Gsid" AS gsid,
    nullif("FirstName", '') AS "now.gsuser.FirstName",
    nullif("LastName", '') AS "now.gsuser.LastName",
    nullif("Email", '') AS "now.gsuser.Email",
    nullif("Timezone", '') AS "now.gsuser.Timezone",
    nullif("Locale", '') AS "now.gsuser.Locale",
    nullif("Title", '') AS "now.gsuser.Title",
    nullif("SfdcUserId", '') AS "now.avatar.SfdcUserId",
    nullif("Manager", '') AS "now.gsuser.Manager"
  FROM "mirror_gsuser"
),

-- Numbers of keys that several rows may have. (worked out first)
records_suspects AS (
  SELECT unnest(repeated(key_hash(key_1))) AS number FROM records_all
),

-- Of several records with one key these are the candidates, at most 10. (worked out first)
records_several AS (
  SELECT key_1, max(hits) AS hits, arrow_cast(string_agg(gsid, ', ' ORDER BY gsid), 'Utf8') AS candidates
  FROM (
    SELECT a.key_1, a.gsid, count(*) OVER (PARTITION BY a.key_1) AS hits,
      row_number() OVER (PARTITION BY a.key_1 ORDER BY a.gsid) AS place
    FROM (SELECT key_1 FROM records_all WHERE key_hash(key_1) IN (SELECT number FROM records_suspects) GROUP BY key_1 HAVING count(*) > 1) s
    JOIN records_all a ON s.key_1 = a.key_1
  )
  WHERE place <= 10
  GROUP BY key_1
),

-- So each key once.
records AS (
  SELECT a.key_1, a.gsid, 1 AS hits, arrow_cast(NULL, 'Utf8') AS candidates, a."now.gsuser.FirstName", a."now.gsuser.LastName", a."now.gsuser.Email", a."now.gsuser.Timezone", a."now.gsuser.Locale", a."now.gsuser.Title", a."now.avatar.SfdcUserId", a."now.gsuser.Manager"
  FROM records_all a WHERE NOT EXISTS (SELECT 1 FROM records_several s WHERE s.key_1 = a.key_1)
  UNION ALL
  SELECT key_1, NULL AS gsid, hits, candidates, NULL AS "now.gsuser.FirstName", NULL AS "now.gsuser.LastName", NULL AS "now.gsuser.Email", NULL AS "now.gsuser.Timezone", NULL AS "now.gsuser.Locale", NULL AS "now.gsuser.Title", NULL AS "now.avatar.SfdcUserId", NULL AS "now.gsuser.Manager" FROM records_several
),

-- Each row with what it found.
matched AS (
  SELECT
    m.*,
    l1.gsid AS lookup_1_gsid,
    r.gsid,
    r.hits,
    r.candidates,
    r."now.gsuser.FirstName",
    r."now.gsuser.LastName",
    r."now.gsuser.Email",
    r."now.gsuser.Timezone",
    r."now.gsuser.Locale",
    r."now.gsuser.Title",
    r."now.avatar.SfdcUserId",
    r."now.gsuser.Manager",
    d.duplicate_of
  FROM mapped m
  LEFT JOIN lookup_1 l1 ON l1.lookup_1_1 = m.lookup_1_1
  LEFT JOIN records r ON r.key_1 = m.key_1
  LEFT JOIN ranked d ON d.source_id = m.source_id
),

-- A self lookup that finds the record itself: nobody is their own parent.
seen AS (
  SELECT *,
    own_1 OR coalesce(lookup_1_gsid = gsid, FALSE) AS self_1
  FROM matched
),

-- What the lookups gave.
resolved AS (
  SELECT *,
    lookup_1_gsid IS NULL AND NOT self_1 AS missing_1,
    lookup_1_gsid IS NULL AND NOT self_1 AND NOT (lookup_1_1 IS NULL) AS waits_1,
    CASE WHEN NOT self_1 THEN lookup_1_gsid END AS "set.gsuser.Manager"
  FROM seen
),

-- The first problem of each row.
judged AS (
  SELECT *,
    CASE
      WHEN key_1 IS NULL THEN 1 -- BLANK_IDENTIFIER gsuser.SFDCUserName
      WHEN duplicate_of IS NOT NULL THEN 2 -- DUPLICATE_IN_SOURCE gsuser.SFDCUserName
      WHEN candidates IS NOT NULL THEN 3 -- AMBIGUOUS_TARGET gsuser.SFDCUserName
    END AS problem
  FROM resolved
),

-- Which fields differ from Gainsight's.
compared AS (
  SELECT *,
    "set.gsuser.FirstName" IS DISTINCT FROM "now.gsuser.FirstName" AS "differs.gsuser.FirstName",
    "set.gsuser.LastName" IS DISTINCT FROM "now.gsuser.LastName" AS "differs.gsuser.LastName",
    "set.gsuser.Email" IS DISTINCT FROM "now.gsuser.Email" AS "differs.gsuser.Email",
    "set.gsuser.Timezone" IS DISTINCT FROM "now.gsuser.Timezone" AS "differs.gsuser.Timezone",
    "set.gsuser.Locale" IS DISTINCT FROM "now.gsuser.Locale" AS "differs.gsuser.Locale",
    "set.gsuser.Title" IS DISTINCT FROM "now.gsuser.Title" AS "differs.gsuser.Title",
    "set.avatar.SfdcUserId" IS DISTINCT FROM "now.avatar.SfdcUserId" AS "differs.avatar.SfdcUserId",
    NOT waits_1 AND "set.gsuser.Manager" IS DISTINCT FROM "now.gsuser.Manager" AS "differs.gsuser.Manager"
  FROM judged
),

-- The verdict.
decided AS (
  SELECT *,
    CASE
      WHEN problem IS NOT NULL THEN 'rejected'
      WHEN gsid IS NULL THEN 'insert'
      WHEN "differs.gsuser.FirstName" OR "differs.gsuser.LastName" OR "differs.gsuser.Email" OR "differs.gsuser.Timezone" OR "differs.gsuser.Locale" OR "differs.gsuser.Title" OR "differs.avatar.SfdcUserId" OR "differs.gsuser.Manager" THEN 'update'
      ELSE 'unchanged'
    END AS verdict
  FROM compared
)

-- One verdict per row.
SELECT
  source_id,
  verdict,
  gsid,
  CASE WHEN verdict = 'update' THEN concat_ws(',', CASE WHEN "differs.gsuser.FirstName" THEN 'gsuser.FirstName' END, CASE WHEN "differs.gsuser.LastName" THEN 'gsuser.LastName' END, CASE WHEN "differs.gsuser.Email" THEN 'gsuser.Email' END, CASE WHEN "differs.gsuser.Timezone" THEN 'gsuser.Timezone' END, CASE WHEN "differs.gsuser.Locale" THEN 'gsuser.Locale' END, CASE WHEN "differs.gsuser.Title" THEN 'gsuser.Title' END, CASE WHEN "differs.avatar.SfdcUserId" THEN 'avatar.SfdcUserId' END, CASE WHEN "differs.gsuser.Manager" THEN 'gsuser.Manager' END) END AS changed,
  verdict = 'update' AND (("differs.gsuser.FirstName" AND "set.gsuser.FirstName" IS NULL) OR ("differs.gsuser.LastName" AND "set.gsuser.LastName" IS NULL) OR ("differs.gsuser.Email" AND "set.gsuser.Email" IS NULL) OR ("differs.gsuser.Timezone" AND "set.gsuser.Timezone" IS NULL) OR ("differs.gsuser.Locale" AND "set.gsuser.Locale" IS NULL) OR ("differs.gsuser.Title" AND "set.gsuser.Title" IS NULL) OR ("differs.avatar.SfdcUserId" AND "set.avatar.SfdcUserId" IS NULL) OR ("differs.gsuser.Manager" AND "set.gsuser.Manager" IS NULL)) AS clears,
  CASE problem
    WHEN 1 THEN 'BLANK_IDENTIFIER'
    WHEN 2 THEN 'DUPLICATE_IN_SOURCE'
    WHEN 3 THEN 'AMBIGUOUS_TARGET'
  END AS code,
  CASE problem
    WHEN 1 THEN 'gsuser.SFDCUserName'
    WHEN 2 THEN 'gsuser.SFDCUserName'
    WHEN 3 THEN 'gsuser.SFDCUserName'
  END AS field,
  CASE problem
    WHEN 1 THEN 'Username is empty, but by it the user is found in Gainsight.'
    WHEN 2 THEN concat('The row ', duplicate_of, ' is newer and has the same SFDCUserName ''', "set.gsuser.SFDCUserName", '''; it was used and this row was not.')
    WHEN 3 THEN concat(hits, ' user records in Gainsight have SFDCUserName ''', "set.gsuser.SFDCUserName", '''; it is not clear which one is meant.')
  END AS message,
  CASE problem
    WHEN 3 THEN candidates
  END AS candidates,
  CASE WHEN problem IS NOT NULL THEN FALSE ELSE (missing_1 AND NOT (lookup_1_1 IS NULL) AND NOT waits_1) END AS retry,
  CASE WHEN problem IS NULL THEN nullif(concat_ws(',', CASE WHEN waits_1 THEN 'gsuser.Manager' END), '') END AS unresolved,
  "set.gsuser.FirstName",
  "set.gsuser.LastName",
  "set.gsuser.Email",
  "set.gsuser.Timezone",
  "set.gsuser.SFDCUserName",
  "set.gsuser.Locale",
  "set.gsuser.Title",
  "set.avatar.SfdcUserId",
  "set.gsuser.Manager",
  CASE WHEN problem IS NULL THEN becomes_1 END AS "becomes.gsuser.Manager",
  CASE WHEN problem IS NULL AND waits_1 THEN key_hash(lookup_1_1) END AS "awaits.gsuser.Manager",
  CASE WHEN problem IS NULL AND waits_1 THEN own_1_1 END AS "own.gsuser.Manager",
  CASE WHEN missing_1 THEN lookup_1_1 END AS "wants.gsuser.Manager"
FROM decided
