-- Company Sync (company_sync): what each row of Account means for company in Gainsight
WITH
-- Every cell at its target's type (bad.*: as text, if it does not convert), and the keys as they compare: blank is NULL.
mapped AS (
  SELECT
    "Id" AS source_id,
    "SystemModstamp" AS modified,
    match_id("Id") AS key_1,
    match_id("Id") AS "set.company.SfdcAccountId",
    nullif("Name", '') AS "set.company.Name",
    CAST("NumberOfEmployees" AS BIGINT) AS "set.company.Employees"
  FROM source
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

-- The company records of Gainsight by key. (worked out first)
records_all AS (
  SELECT
    match_id("SfdcAccountId") AS key_1,
    "Gsid" AS gsid,
    nullif("Name", '') AS "now.company.Name",
    "Employees" AS "now.company.Employees"
  FROM "mirror_company"
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
  SELECT a.key_1, a.gsid, 1 AS hits, arrow_cast(NULL, 'Utf8') AS candidates, a."now.company.Name", a."now.company.Employees"
  FROM records_all a WHERE NOT EXISTS (SELECT 1 FROM records_several s WHERE s.key_1 = a.key_1)
  UNION ALL
  SELECT key_1, NULL AS gsid, hits, candidates, NULL AS "now.company.Name", NULL AS "now.company.Employees" FROM records_several
),

-- Each row with what it found.
matched AS (
  SELECT
    m.*,
    r.gsid,
    r.hits,
    r.candidates,
    r."now.company.Name",
    r."now.company.Employees",
    d.duplicate_of
  FROM mapped m
  LEFT JOIN records r ON r.key_1 = m.key_1
  LEFT JOIN ranked d ON d.source_id = m.source_id
),

-- The first problem of each row.
judged AS (
  SELECT *,
    CASE
      WHEN key_1 IS NULL THEN 1 -- BLANK_IDENTIFIER company.SfdcAccountId
      WHEN duplicate_of IS NOT NULL THEN 2 -- DUPLICATE_IN_SOURCE company.SfdcAccountId
      WHEN candidates IS NOT NULL THEN 3 -- AMBIGUOUS_TARGET company.SfdcAccountId
    END AS problem
  FROM matched
),

-- Which fields differ from Gainsight's.
compared AS (
  SELECT *,
    "set.company.Name" IS DISTINCT FROM "now.company.Name" AS "differs.company.Name",
    "set.company.Employees" IS DISTINCT FROM "now.company.Employees" AS "differs.company.Employees"
  FROM judged
),

-- The verdict.
decided AS (
  SELECT *,
    CASE
      WHEN problem IS NOT NULL THEN 'rejected'
      WHEN gsid IS NULL THEN 'insert'
      WHEN "differs.company.Name" OR "differs.company.Employees" THEN 'update'
      ELSE 'unchanged'
    END AS verdict
  FROM compared
)

-- One verdict per row.
SELECT
  source_id,
  verdict,
  gsid,
  CASE WHEN verdict = 'update' THEN concat_ws(',', CASE WHEN "differs.company.Name" THEN 'company.Name' END, CASE WHEN "differs.company.Employees" THEN 'company.Employees' END) END AS changed,
  verdict = 'update' AND (("differs.company.Name" AND "set.company.Name" IS NULL) OR ("differs.company.Employees" AND "set.company.Employees" IS NULL)) AS clears,
  CASE problem
    WHEN 1 THEN 'BLANK_IDENTIFIER'
    WHEN 2 THEN 'DUPLICATE_IN_SOURCE'
    WHEN 3 THEN 'AMBIGUOUS_TARGET'
  END AS code,
  CASE problem
    WHEN 1 THEN 'company.SfdcAccountId'
    WHEN 2 THEN 'company.SfdcAccountId'
    WHEN 3 THEN 'company.SfdcAccountId'
  END AS field,
  CASE problem
    WHEN 1 THEN 'Id is empty, but by it the company is found in Gainsight.'
    WHEN 2 THEN concat('The row ', duplicate_of, ' is newer and has the same SfdcAccountId ''', "set.company.SfdcAccountId", '''; it was used and this row was not.')
    WHEN 3 THEN concat(hits, ' company records in Gainsight have SfdcAccountId ''', "set.company.SfdcAccountId", '''; it is not clear which one is meant.')
  END AS message,
  CASE problem
    WHEN 3 THEN candidates
  END AS candidates,
  CASE WHEN problem IS NOT NULL THEN FALSE ELSE FALSE END AS retry,
  arrow_cast(NULL, 'Utf8') AS unresolved,
  "set.company.SfdcAccountId",
  "set.company.Name",
  "set.company.Employees"
FROM decided
