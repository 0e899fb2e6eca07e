-- Company Person Sync (company_person_sync): what each row of Contact means for people in Gainsight
WITH
-- Every cell at its target's type (bad.*: as text, if it does not convert), and the keys as they compare: blank is NULL.
mapped AS (
  SELECT
    "Id" AS source_id,
    "SystemModstamp" AS modified,
    match_text("Email") AS key_1,
    nullif("FirstName", '') AS "set.person.FirstName",
    nullif("LastName", '') AS "set.person.LastName",
    trim_text("Email") AS "set.person.Email",
    match_id("Id") AS "set.company_person.ExternalContactId",
    match_id("AccountId") AS "set.company_person.ExternalAccountId",
    match_id("AccountId") AS lookup_1_1,
    match_id("ReportsToId") AS lookup_2_1,
    match_id("AccountId") AS lookup_2_2,
    coalesce(match_id("ReportsToId") = match_id("Id") AND match_id("AccountId") = match_id("AccountId"), FALSE) AS own_2,
    key_hash(match_id("Id"), match_id("AccountId")) AS becomes_2
  FROM source
),

-- company_person.Company_ID: the company records by SfdcAccountId. (worked out first)
lookup_1_all AS (
  SELECT
    match_id("SfdcAccountId") AS lookup_1_1,
    "Gsid" AS gsid
  FROM "mirror_company"
),

-- Numbers of keys that several rows may have. (worked out first)
lookup_1_suspects AS (
  SELECT unnest(repeated(key_hash(lookup_1_1))) AS number FROM lookup_1_all
),

-- Of several records with one key these are the candidates, at most 10. (worked out first)
lookup_1_several AS (
  SELECT lookup_1_1, max(hits) AS hits, arrow_cast(string_agg(gsid, ', ' ORDER BY gsid), 'Utf8') AS candidates
  FROM (
    SELECT a.lookup_1_1, a.gsid, count(*) OVER (PARTITION BY a.lookup_1_1) AS hits,
      row_number() OVER (PARTITION BY a.lookup_1_1 ORDER BY a.gsid) AS place
    FROM (SELECT lookup_1_1 FROM lookup_1_all WHERE key_hash(lookup_1_1) IN (SELECT number FROM lookup_1_suspects) GROUP BY lookup_1_1 HAVING count(*) > 1) s
    JOIN lookup_1_all a ON s.lookup_1_1 = a.lookup_1_1
  )
  WHERE place <= 10
  GROUP BY lookup_1_1
),

-- So each key once.
lookup_1 AS (
  SELECT a.lookup_1_1, a.gsid, 1 AS hits, arrow_cast(NULL, 'Utf8') AS candidates
  FROM lookup_1_all a WHERE NOT EXISTS (SELECT 1 FROM lookup_1_several s WHERE s.lookup_1_1 = a.lookup_1_1)
  UNION ALL
  SELECT lookup_1_1, NULL AS gsid, hits, candidates FROM lookup_1_several
),

-- company_person.Manager: the company_person records by ExternalContactId and ExternalAccountId. (worked out first)
lookup_2_all AS (
  SELECT
    match_id("ExternalContactId") AS lookup_2_1,
    match_id("ExternalAccountId") AS lookup_2_2,
    "Gsid" AS gsid
  FROM "mirror_company_person"
),

-- Numbers of keys that several rows may have. (worked out first)
lookup_2_suspects AS (
  SELECT unnest(repeated(key_hash(lookup_2_1, lookup_2_2))) AS number FROM lookup_2_all
),

-- Of several records with one key the lowest GSID counts. (worked out first)
lookup_2_several AS (
  SELECT a.lookup_2_1, a.lookup_2_2, min(a.gsid) AS gsid
  FROM (SELECT lookup_2_1, lookup_2_2 FROM lookup_2_all WHERE key_hash(lookup_2_1, lookup_2_2) IN (SELECT number FROM lookup_2_suspects) GROUP BY lookup_2_1, lookup_2_2 HAVING count(*) > 1) s
  JOIN lookup_2_all a ON s.lookup_2_1 = a.lookup_2_1 AND s.lookup_2_2 = a.lookup_2_2
  GROUP BY a.lookup_2_1, a.lookup_2_2
),

-- So each key once.
lookup_2 AS (
  SELECT a.lookup_2_1, a.lookup_2_2, a.gsid
  FROM lookup_2_all a WHERE NOT EXISTS (SELECT 1 FROM lookup_2_several s WHERE s.lookup_2_1 = a.lookup_2_1 AND s.lookup_2_2 = a.lookup_2_2)
  UNION ALL
  SELECT lookup_2_1, lookup_2_2, gsid FROM lookup_2_several
),

-- The persons of Gainsight by key. (worked out first)
persons_all AS (
  SELECT
    match_text("Email") AS key_1,
    "Gsid" AS gsid,
    nullif("FirstName", '') AS "now.person.FirstName",
    nullif("LastName", '') AS "now.person.LastName"
  FROM "mirror_person"
),

-- Numbers of keys that several rows may have. (worked out first)
persons_suspects AS (
  SELECT unnest(repeated(key_hash(key_1))) AS number FROM persons_all
),

-- Of several records with one key these are the candidates, at most 10. (worked out first)
persons_several AS (
  SELECT key_1, max(hits) AS hits, arrow_cast(string_agg(gsid, ', ' ORDER BY gsid), 'Utf8') AS candidates
  FROM (
    SELECT a.key_1, a.gsid, count(*) OVER (PARTITION BY a.key_1) AS hits,
      row_number() OVER (PARTITION BY a.key_1 ORDER BY a.gsid) AS place
    FROM (SELECT key_1 FROM persons_all WHERE key_hash(key_1) IN (SELECT number FROM persons_suspects) GROUP BY key_1 HAVING count(*) > 1) s
    JOIN persons_all a ON s.key_1 = a.key_1
  )
  WHERE place <= 10
  GROUP BY key_1
),

-- So each key once.
persons AS (
  SELECT a.key_1, a.gsid, 1 AS hits, arrow_cast(NULL, 'Utf8') AS candidates, a."now.person.FirstName", a."now.person.LastName"
  FROM persons_all a WHERE NOT EXISTS (SELECT 1 FROM persons_several s WHERE s.key_1 = a.key_1)
  UNION ALL
  SELECT key_1, NULL AS gsid, hits, candidates, NULL AS "now.person.FirstName", NULL AS "now.person.LastName" FROM persons_several
),

-- The company persons of Gainsight by person and company. (worked out first)
company_persons_all AS (
  SELECT
    nullif("Person_ID", '') AS person_gsid,
    nullif("Company_ID", '') AS company_gsid,
    "Gsid" AS gsid,
    nullif("ExternalContactId", '') AS "now.company_person.ExternalContactId",
    nullif("ExternalAccountId", '') AS "now.company_person.ExternalAccountId",
    nullif("Manager", '') AS "now.company_person.Manager"
  FROM "mirror_company_person"
),

-- Numbers of keys that several rows may have. (worked out first)
company_persons_suspects AS (
  SELECT unnest(repeated(key_hash(person_gsid, company_gsid))) AS number FROM company_persons_all
),

-- Of several records with one key these are the candidates, at most 10. (worked out first)
company_persons_several AS (
  SELECT person_gsid, company_gsid, max(hits) AS hits, arrow_cast(string_agg(gsid, ', ' ORDER BY gsid), 'Utf8') AS candidates
  FROM (
    SELECT a.person_gsid, a.company_gsid, a.gsid, count(*) OVER (PARTITION BY a.person_gsid, a.company_gsid) AS hits,
      row_number() OVER (PARTITION BY a.person_gsid, a.company_gsid ORDER BY a.gsid) AS place
    FROM (SELECT person_gsid, company_gsid FROM company_persons_all WHERE key_hash(person_gsid, company_gsid) IN (SELECT number FROM company_persons_suspects) GROUP BY person_gsid, company_gsid HAVING count(*) > 1) s
    JOIN company_persons_all a ON s.person_gsid = a.person_gsid AND s.company_gsid = a.company_gsid
  )
  WHERE place <= 10
  GROUP BY person_gsid, company_gsid
),

-- So each key once.
company_persons AS (
  SELECT a.person_gsid, a.company_gsid, a.gsid, 1 AS hits, arrow_cast(NULL, 'Utf8') AS candidates, a."now.company_person.ExternalContactId", a."now.company_person.ExternalAccountId", a."now.company_person.Manager"
  FROM company_persons_all a WHERE NOT EXISTS (SELECT 1 FROM company_persons_several s WHERE s.person_gsid = a.person_gsid AND s.company_gsid = a.company_gsid)
  UNION ALL
  SELECT person_gsid, company_gsid, NULL AS gsid, hits, candidates, NULL AS "now.company_person.ExternalContactId", NULL AS "now.company_person.ExternalAccountId", NULL AS "now.company_person.Manager" FROM company_persons_several
),

-- Numbers of keys that several rows may have. (worked out first)
rows_suspects AS (
  SELECT unnest(repeated(key_hash(key_1))) AS number FROM mapped
),

-- Rows about persons of whom others are too.
twins AS (
  SELECT m.* FROM rows_suspects s JOIN mapped m ON s.number = key_hash(m.key_1)
),

-- Each row with what it found.
twin_matched AS (
  SELECT
    m.*,
    l1.gsid AS lookup_1_gsid,
    l1.hits AS lookup_1_hits,
    l1.candidates AS lookup_1_candidates,
    l2.gsid AS lookup_2_gsid,
    p.gsid AS person_gsid,
    p.hits AS person_hits,
    p.candidates AS person_candidates,
    r.gsid,
    r.hits,
    r.candidates
  FROM twins m
  LEFT JOIN lookup_1 l1 ON l1.lookup_1_1 = m.lookup_1_1
  LEFT JOIN lookup_2 l2 ON l2.lookup_2_1 = m.lookup_2_1 AND l2.lookup_2_2 = m.lookup_2_2
  LEFT JOIN persons p ON p.key_1 = m.key_1
  LEFT JOIN company_persons r ON r.person_gsid = p.gsid AND r.company_gsid = l1.gsid
),

-- Of the rows of one person at one company the newest counts, then the higher Id.
twin_ranked AS (
  SELECT *, CASE WHEN lookup_1_gsid IS NOT NULL THEN nullif(first_value(source_id) OVER (
      PARTITION BY key_1, lookup_1_gsid ORDER BY modified DESC NULLS LAST, source_id DESC), source_id) END AS duplicate_of
  FROM twin_matched
),

-- A self lookup that finds the record itself: nobody is their own parent.
twin_seen AS (
  SELECT *,
    own_2 OR coalesce(lookup_2_gsid = gsid, FALSE) AS self_2
  FROM twin_ranked
),

-- What the lookups gave.
twin_resolved AS (
  SELECT *,
    lookup_1_candidates IS NOT NULL AS several_1,
    lookup_1_gsid IS NULL AND lookup_1_candidates IS NULL AS missing_1,
    lookup_1_gsid AS "set.company_person.Company_ID",
    lookup_2_gsid IS NULL AND NOT self_2 AS missing_2,
    lookup_2_gsid IS NULL AND NOT self_2 AND NOT (lookup_2_1 IS NULL OR lookup_2_2 IS NULL) AS waits_2,
    CASE WHEN NOT self_2 THEN lookup_2_gsid END AS "set.company_person.Manager"
  FROM twin_seen
),

-- The first problem of each row.
twin_judged AS (
  SELECT *,
    CASE
      WHEN key_1 IS NULL THEN 1 -- BLANK_IDENTIFIER person.Email
      WHEN several_1 THEN 2 -- LOOKUP_MULTIPLE company_person.Company_ID
      WHEN missing_1 THEN 3 -- LOOKUP_NO_MATCH company_person.Company_ID
      WHEN duplicate_of IS NOT NULL THEN 4 -- DUPLICATE_IN_SOURCE person.Email
      WHEN person_candidates IS NOT NULL THEN 5 -- AMBIGUOUS_TARGET person.Email
      WHEN candidates IS NOT NULL THEN 6 -- AMBIGUOUS_TARGET person.Email
    END AS problem
  FROM twin_resolved
),

-- Of the accepted rows of one person the newest, then the higher Id, says what the person's own fields are. (worked out first)
twin_verdicts AS (
  SELECT source_id, duplicate_of,
    count(*) FILTER (WHERE problem IS NULL) OVER (PARTITION BY key_1) AS person_rows,
    row_number() OVER (
      PARTITION BY key_1 ORDER BY problem IS NULL DESC, modified DESC NULLS LAST, source_id DESC) = 1 AS person_winner
  FROM twin_judged
),

-- Each row with what it found.
matched AS (
  SELECT
    m.*,
    l1.gsid AS lookup_1_gsid,
    l1.hits AS lookup_1_hits,
    l1.candidates AS lookup_1_candidates,
    l2.gsid AS lookup_2_gsid,
    p.gsid AS person_gsid,
    p.hits AS person_hits,
    p.candidates AS person_candidates,
    r.gsid,
    r.hits,
    r.candidates,
    p."now.person.FirstName",
    p."now.person.LastName",
    r."now.company_person.ExternalContactId",
    r."now.company_person.ExternalAccountId",
    r."now.company_person.Manager",
    d.duplicate_of,
    d.person_rows,
    d.person_winner
  FROM mapped m
  LEFT JOIN lookup_1 l1 ON l1.lookup_1_1 = m.lookup_1_1
  LEFT JOIN lookup_2 l2 ON l2.lookup_2_1 = m.lookup_2_1 AND l2.lookup_2_2 = m.lookup_2_2
  LEFT JOIN persons p ON p.key_1 = m.key_1
  LEFT JOIN company_persons r ON r.person_gsid = p.gsid AND r.company_gsid = l1.gsid
  LEFT JOIN twin_verdicts d ON d.source_id = m.source_id
),

-- A self lookup that finds the record itself: nobody is their own parent.
seen AS (
  SELECT *,
    own_2 OR coalesce(lookup_2_gsid = gsid, FALSE) AS self_2
  FROM matched
),

-- What the lookups gave.
resolved AS (
  SELECT *,
    lookup_1_candidates IS NOT NULL AS several_1,
    lookup_1_gsid IS NULL AND lookup_1_candidates IS NULL AS missing_1,
    lookup_1_gsid AS "set.company_person.Company_ID",
    lookup_2_gsid IS NULL AND NOT self_2 AS missing_2,
    lookup_2_gsid IS NULL AND NOT self_2 AND NOT (lookup_2_1 IS NULL OR lookup_2_2 IS NULL) AS waits_2,
    CASE WHEN NOT self_2 THEN lookup_2_gsid END AS "set.company_person.Manager"
  FROM seen
),

-- The first problem of each row.
judged AS (
  SELECT *,
    CASE
      WHEN key_1 IS NULL THEN 1 -- BLANK_IDENTIFIER person.Email
      WHEN several_1 THEN 2 -- LOOKUP_MULTIPLE company_person.Company_ID
      WHEN missing_1 THEN 3 -- LOOKUP_NO_MATCH company_person.Company_ID
      WHEN duplicate_of IS NOT NULL THEN 4 -- DUPLICATE_IN_SOURCE person.Email
      WHEN person_candidates IS NOT NULL THEN 5 -- AMBIGUOUS_TARGET person.Email
      WHEN candidates IS NOT NULL THEN 6 -- AMBIGUOUS_TARGET person.Email
    END AS problem
  FROM resolved
),

-- Which fields differ from Gainsight's.
compared AS (
  SELECT *,
    coalesce(person_winner, TRUE) AND "set.person.FirstName" IS DISTINCT FROM "now.person.FirstName" AS "differs.person.FirstName",
    coalesce(person_winner, TRUE) AND "set.person.LastName" IS DISTINCT FROM "now.person.LastName" AS "differs.person.LastName",
    "set.company_person.ExternalContactId" IS DISTINCT FROM "now.company_person.ExternalContactId" AS "differs.company_person.ExternalContactId",
    "set.company_person.ExternalAccountId" IS DISTINCT FROM "now.company_person.ExternalAccountId" AS "differs.company_person.ExternalAccountId",
    NOT waits_2 AND "set.company_person.Manager" IS DISTINCT FROM "now.company_person.Manager" AS "differs.company_person.Manager"
  FROM judged
),

-- The verdict.
decided AS (
  SELECT *,
    CASE
      WHEN problem IS NOT NULL THEN 'rejected'
      WHEN gsid IS NULL THEN 'insert'
      WHEN "differs.person.FirstName" OR "differs.person.LastName" OR "differs.company_person.ExternalContactId" OR "differs.company_person.ExternalAccountId" OR "differs.company_person.Manager" THEN 'update'
      ELSE 'unchanged'
    END AS verdict
  FROM compared
)

-- One verdict per row.
SELECT
  source_id,
  verdict,
  gsid,
  CASE WHEN verdict = 'update' THEN concat_ws(',', CASE WHEN "differs.person.FirstName" THEN 'person.FirstName' END, CASE WHEN "differs.person.LastName" THEN 'person.LastName' END, CASE WHEN "differs.company_person.ExternalContactId" THEN 'company_person.ExternalContactId' END, CASE WHEN "differs.company_person.ExternalAccountId" THEN 'company_person.ExternalAccountId' END, CASE WHEN "differs.company_person.Manager" THEN 'company_person.Manager' END) END AS changed,
  verdict = 'update' AND (("differs.person.FirstName" AND "set.person.FirstName" IS NULL) OR ("differs.person.LastName" AND "set.person.LastName" IS NULL) OR ("differs.company_person.ExternalContactId" AND "set.company_person.ExternalContactId" IS NULL) OR ("differs.company_person.ExternalAccountId" AND "set.company_person.ExternalAccountId" IS NULL) OR ("differs.company_person.Manager" AND "set.company_person.Manager" IS NULL)) AS clears,
  CASE problem
    WHEN 1 THEN 'BLANK_IDENTIFIER'
    WHEN 2 THEN 'LOOKUP_MULTIPLE'
    WHEN 3 THEN 'LOOKUP_NO_MATCH'
    WHEN 4 THEN 'DUPLICATE_IN_SOURCE'
    WHEN 5 THEN 'AMBIGUOUS_TARGET'
    WHEN 6 THEN 'AMBIGUOUS_TARGET'
  END AS code,
  CASE problem
    WHEN 1 THEN 'person.Email'
    WHEN 2 THEN 'company_person.Company_ID'
    WHEN 3 THEN 'company_person.Company_ID'
    WHEN 4 THEN 'person.Email'
    WHEN 5 THEN 'person.Email'
    WHEN 6 THEN 'person.Email'
  END AS field,
  CASE problem
    WHEN 1 THEN 'Email is empty, but by it the person is found in Gainsight.'
    WHEN 2 THEN concat(lookup_1_hits, ' company records in Gainsight have SfdcAccountId ''', lookup_1_1, ''' (from AccountId), and Company_ID takes only one.')
    WHEN 3 THEN CASE WHEN (lookup_1_1 IS NULL) THEN 'AccountId is empty, so no company can be found for Company_ID.' ELSE concat('No company in Gainsight has SfdcAccountId ''', lookup_1_1, ''' (from AccountId), so Company_ID cannot be filled.') END
    WHEN 4 THEN concat('The row ', duplicate_of, ' is newer and has the same Email ''', "set.person.Email", ''' at the same company; it was used and this row was not.')
    WHEN 5 THEN concat(person_hits, ' person records in Gainsight have Email ''', "set.person.Email", '''; it is not clear which one is meant.')
    WHEN 6 THEN concat(hits, ' company person records in Gainsight have Email ''', "set.person.Email", ''' at the same company; it is not clear which one is meant.')
  END AS message,
  CASE problem
    WHEN 2 THEN lookup_1_candidates
    WHEN 5 THEN person_candidates
    WHEN 6 THEN candidates
  END AS candidates,
  CASE WHEN problem = 3 THEN NOT (lookup_1_1 IS NULL) WHEN problem IS NOT NULL THEN FALSE ELSE (missing_2 AND NOT (lookup_2_1 IS NULL OR lookup_2_2 IS NULL) AND NOT waits_2) END AS retry,
  CASE WHEN problem IS NULL THEN nullif(concat_ws(',', CASE WHEN waits_2 THEN 'company_person.Manager' END), '') END AS unresolved,
  person_gsid,
  arrow_cast(key_1, 'Utf8') AS person_key,
  coalesce(person_rows, CASE WHEN problem IS NULL THEN 1 ELSE 0 END) AS person_rows,
  problem IS NULL AND coalesce(person_winner, TRUE) AS person_winner,
  "set.person.FirstName",
  "set.person.LastName",
  "set.person.Email",
  "set.company_person.ExternalContactId",
  "set.company_person.ExternalAccountId",
  "set.company_person.Company_ID",
  "set.company_person.Manager",
  CASE WHEN problem IS NULL THEN becomes_2 END AS "becomes.company_person.Manager",
  CASE WHEN problem IS NULL AND waits_2 THEN key_hash(lookup_2_1, lookup_2_2) END AS "awaits.company_person.Manager",
  CASE WHEN missing_1 THEN lookup_1_1 END AS "wants.company_person.Company_ID",
  CASE WHEN missing_2 THEN lookup_2_1 || chr(31) || lookup_2_2 END AS "wants.company_person.Manager"
FROM decided
