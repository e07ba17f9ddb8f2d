WITH facts AS (
  SELECT
    x."lead_id" AS "_owner",
    x."occurred_at" AS "_at",
    x."known_at" AS "_known",
    x."kind" AS "kind",
    x."page" AS "page",
    x."value" AS "value",
    MIN(
      CASE WHEN x."known_at" > x."occurred_at" THEN x."known_at" ELSE x."occurred_at" END
    ) OVER (
      PARTITION BY x."lead_id", x."kind", x."page"
      ORDER BY x."occurred_at" ASC NULLS FIRST, x."lead_id" ASC NULLS FIRST, x."event_id" ASC NULLS FIRST
      ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING
    ) AS "_until5",
    MIN(
      CASE WHEN x."known_at" > x."occurred_at" THEN x."known_at" ELSE x."occurred_at" END
    ) OVER (
      PARTITION BY x."lead_id", x."kind"
      ORDER BY x."occurred_at" ASC NULLS FIRST, x."lead_id" ASC NULLS FIRST, x."event_id" ASC NULLS FIRST
      ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING
    ) AS "_until8"
  FROM events AS x
)
SELECT
  s."_row",
  f."kind",
  COUNT(*) FILTER(WHERE
    f."_at" >= (
      s."as_of" - 604800000000
    )) AS f0,
  COALESCE(SUM(f."value"), 0) AS f1,
  AVG(f."value") FILTER(WHERE
    f."_at" >= (
      s."as_of" - 2592000000000
    )) AS f2,
  MIN(f."value") AS f3,
  MAX(f."value") AS f4,
  COUNT(*) FILTER(WHERE
    COALESCE(f."_until5", s."as_of") >= s."as_of" AND NOT f."page" IS NULL) AS f5,
  CAST(MAX(s."as_of" - f."_at") AS DOUBLE) / 86400000000.0 AS f6,
  CAST(MIN(s."as_of" - f."_at") AS DOUBLE) / 86400000000.0 AS f7,
  MAX(f."page") FILTER(WHERE
    COALESCE(f."_until8", s."as_of") >= s."as_of") AS f8,
  CAST(COUNT(*) FILTER(WHERE
    f."_at" >= (
      s."as_of" - 604800000000
    )) AS DOUBLE) / NULLIF(COUNT(*) FILTER(WHERE
    f."_at" >= (
      s."as_of" - 2592000000000
    )), 0) AS f9
FROM spine AS s
JOIN facts AS f
  ON f."_owner" = s."lead_id"
  AND f."_at" < s."as_of"
  AND f."_known" < s."as_of"
  AND NOT f."kind" IS NULL
GROUP BY
  s."_row",
  f."kind";

WITH facts AS (
  SELECT
    o."account_id" AS "_owner",
    x."occurred_at" AS "_at",
    CASE WHEN x."known_at" > o."created_at" THEN x."known_at" ELSE o."created_at" END AS "_known",
    x."kind" AS "kind",
    x."page" AS "page",
    MIN(
      CASE
        WHEN CASE WHEN x."known_at" > o."created_at" THEN x."known_at" ELSE o."created_at" END > x."occurred_at"
        THEN CASE WHEN x."known_at" > o."created_at" THEN x."known_at" ELSE o."created_at" END
        ELSE x."occurred_at"
      END
    ) OVER (
      PARTITION BY o."account_id", x."kind"
      ORDER BY x."occurred_at" ASC NULLS FIRST, x."lead_id" ASC NULLS FIRST, x."event_id" ASC NULLS FIRST
      ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING
    ) AS "_until1"
  FROM events AS x
  JOIN leads AS o
    ON o."lead_id" = x."lead_id"
)
SELECT
  s."_row",
  f."kind",
  COUNT(*) FILTER(WHERE
    f."_at" >= (
      s."as_of" - 129600000000
    )) AS f0,
  MAX(f."page") FILTER(WHERE
    COALESCE(f."_until1", s."as_of") >= s."as_of") AS f1
FROM spine AS s
JOIN leads AS l
  ON l."lead_id" = s."lead_id" AND l."created_at" < s."as_of"
JOIN facts AS f
  ON f."_owner" = l."account_id"
  AND f."_at" < s."as_of"
  AND f."_known" < s."as_of"
  AND NOT f."kind" IS NULL
GROUP BY
  s."_row",
  f."kind";

WITH facts AS (
  SELECT
    x."lead_id" AS "_owner",
    x."known_at" AS "_at",
    x."known_at" AS "_known",
    x."field" AS "field",
    x."value" AS "value",
    MIN(CASE WHEN x."known_at" > x."known_at" THEN x."known_at" ELSE x."known_at" END) OVER (
      PARTITION BY x."lead_id", x."field"
      ORDER BY x."known_at" ASC NULLS FIRST, x."lead_id" ASC NULLS FIRST, x."change_id" ASC NULLS FIRST
      ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING
    ) AS "_until0"
  FROM changes AS x
)
SELECT
  s."_row",
  f."field",
  MAX(f."value") FILTER(WHERE
    COALESCE(f."_until0", s."as_of") >= s."as_of") AS f0,
  CAST(MIN(s."as_of" - f."_at") AS DOUBLE) / 86400000000.0 AS f1
FROM spine AS s
JOIN facts AS f
  ON f."_owner" = s."lead_id"
  AND f."_at" < s."as_of"
  AND f."_known" < s."as_of"
  AND NOT f."field" IS NULL
GROUP BY
  s."_row",
  f."field";
