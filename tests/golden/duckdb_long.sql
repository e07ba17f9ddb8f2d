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
      ORDER BY x."occurred_at" DESC, x."lead_id" DESC, x."event_id" DESC
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS "_until5",
    MIN(
      CASE WHEN x."known_at" > x."occurred_at" THEN x."known_at" ELSE x."occurred_at" END
    ) OVER (
      PARTITION BY x."lead_id", x."kind"
      ORDER BY x."occurred_at" DESC, x."lead_id" DESC, x."event_id" DESC
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS "_until8"
  FROM events AS x
)
SELECT
  s."_row",
  f."kind",
  COUNT(CASE WHEN f."_at" >= (
    s."as_of" - 604800000000
  ) THEN 1 END) AS f0,
  COALESCE(SUM(f."value"), 0) AS f1,
  AVG(f."value") FILTER(WHERE
    f."_at" >= (
      s."as_of" - 2592000000000
    )) AS f2,
  MIN(f."value") AS f3,
  MAX(f."value") AS f4,
  COUNT(
    CASE
      WHEN COALESCE(f."_until5", s."as_of") >= s."as_of" AND NOT f."page" IS NULL
      THEN 1
    END
  ) AS f5,
  CAST(MAX(s."as_of" - f."_at") AS DOUBLE) / 86400000000.0 AS f6,
  CAST(MIN(s."as_of" - f."_at") AS DOUBLE) / 86400000000.0 AS f7,
  MAX(f."page") FILTER(WHERE
    COALESCE(f."_until8", s."as_of") >= s."as_of") AS f8,
  CAST(COUNT(CASE WHEN f."_at" >= (
    s."as_of" - 604800000000
  ) THEN 1 END) AS DOUBLE) / NULLIF(COUNT(CASE WHEN f."_at" >= (
    s."as_of" - 2592000000000
  ) THEN 1 END), 0) AS f9,
  STDDEV_SAMP(f."value") AS f10,
  CAST((
    CAST(COUNT(CASE WHEN f."_at" >= (
      s."as_of" - 604800000000
    ) THEN 1 END) AS DOUBLE) * 4.285714285714286
  ) AS DOUBLE) / NULLIF(COUNT(CASE WHEN f."_at" >= (
    s."as_of" - 2592000000000
  ) THEN 1 END), 0) AS f11,
  COALESCE(
    SUM(
      CASE
        WHEN (
          s."as_of" - f."_at"
        ) < 1209600000000000
        THEN EXP(CAST(s."as_of" - f."_at" AS DOUBLE) * -5.73038343716886e-13)
        ELSE 0.0
      END
    ),
    0
  ) AS f12,
  CAST(CAST((
    MAX(f."_at") - MIN(f."_at")
  ) AS DOUBLE) / 86400000000.0 AS DOUBLE) / NULLIF((
    COUNT(*) - 1
  ), 0) AS f13,
  CAST((
    (
      MAX(f."_at") + 2419441200000000
    ) % 86400000000 - (
      MAX(f."_at") + 2419441200000000
    ) % 3600000000
  ) AS DOUBLE) / 3600000000.0 AS f14,
  CAST((
    (
      MAX(f."_at") + 2419459200000000
    ) % 604800000000 - (
      MAX(f."_at") + 2419459200000000
    ) % 86400000000
  ) AS DOUBLE) / 86400000000.0 AS f15,
  AVG(
    CAST(CASE
      WHEN (
        (
          f."_at" + 2419462800000000
        ) % 604800000000
      ) < 432000000000
      AND (
        (
          f."_at" + 2419462800000000
        ) % 86400000000
      ) >= 32400000000
      AND (
        (
          f."_at" + 2419462800000000
        ) % 86400000000
      ) < 64800000000
      THEN 1
      ELSE 0
    END AS DOUBLE)
  ) FILTER(WHERE
    f."_at" >= (
      s."as_of" - 2592000000000
    )) AS f16
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
      ORDER BY x."occurred_at" DESC, x."lead_id" DESC, x."event_id" DESC
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS "_until1"
  FROM events AS x
  JOIN leads AS o
    ON o."lead_id" = x."lead_id"
)
SELECT
  s."_row",
  f."kind",
  COUNT(CASE WHEN f."_at" >= (
    s."as_of" - 129600000000
  ) THEN 1 END) AS f0,
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
      ORDER BY x."known_at" DESC, x."lead_id" DESC, x."change_id" DESC
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
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

WITH facts AS (
  SELECT
    x."lead_id" AS "_owner",
    x."occurred_at" AS "_at",
    x."known_at" AS "_known",
    x."kind" AS "kind",
    ROW_NUMBER() OVER (
      PARTITION BY x."lead_id"
      ORDER BY x."occurred_at" ASC NULLS FIRST, x."lead_id" ASC NULLS FIRST, x."event_id" ASC NULLS FIRST
    ) AS "_place"
  FROM events AS x
)
SELECT
  f."_row",
  MAX(f."kind") FILTER(WHERE
    f."_rank" = 3) AS f0
FROM (
  SELECT
    s."_row",
    s."as_of",
    f."_at",
    f."kind",
    ROW_NUMBER() OVER (PARTITION BY s."_row" ORDER BY f."_place" DESC) AS "_rank",
    LEAD(f."_at") OVER (PARTITION BY s."_row" ORDER BY f."_place" DESC) AS "_before"
  FROM spine AS s
  JOIN facts AS f
    ON f."_owner" = s."lead_id" AND f."_at" < s."as_of" AND f."_known" < s."as_of"
) AS f
GROUP BY
  f."_row";

WITH facts AS (
  SELECT
    x."lead_id" AS "_owner",
    x."occurred_at" AS "_at",
    x."known_at" AS "_known",
    x."kind" AS "kind",
    ROW_NUMBER() OVER (
      PARTITION BY x."lead_id"
      ORDER BY x."occurred_at" ASC NULLS FIRST, x."lead_id" ASC NULLS FIRST, x."event_id" ASC NULLS FIRST
    ) AS "_place"
  FROM events AS x
)
SELECT
  f."_row",
  f."kind",
  CAST(MAX(f."_at" - f."_before") FILTER(WHERE
    f."_rank" = 1) AS DOUBLE) / 86400000000.0 AS f0,
  CAST(STDDEV_SAMP(CAST(f."_at" - f."_before" AS DOUBLE)) FILTER(WHERE
    f."_before" >= (
      f."as_of" - 7776000000000
    )) AS DOUBLE) / NULLIF(
    AVG(CAST(f."_at" - f."_before" AS DOUBLE)) FILTER(WHERE
      f."_before" >= (
        f."as_of" - 7776000000000
      )),
    0
  ) AS f1
FROM (
  SELECT
    s."_row",
    s."as_of",
    f."_at",
    f."kind",
    ROW_NUMBER() OVER (PARTITION BY s."_row", f."kind" ORDER BY f."_place" DESC) AS "_rank",
    LEAD(f."_at") OVER (PARTITION BY s."_row", f."kind" ORDER BY f."_place" DESC) AS "_before"
  FROM spine AS s
  JOIN facts AS f
    ON f."_owner" = s."lead_id"
    AND f."_at" < s."as_of"
    AND f."_known" < s."as_of"
    AND NOT f."kind" IS NULL
) AS f
GROUP BY
  f."_row",
  f."kind";

WITH facts AS (
  SELECT
    x."lead_id" AS "_owner",
    x."occurred_at" AS "_at",
    x."known_at" AS "_known",
    x."channel" AS "channel"
  FROM events AS x
)
SELECT
  f."_row",
  CASE
    WHEN COUNT(*) FILTER(WHERE
      f."_count0" > 0) > 1
    THEN LN(NULLIF(CAST(SUM(f."_count0") AS DOUBLE), 0)) - CAST(SUM(
      CASE
        WHEN f."_count0" > 1
        THEN CAST(ROUND(CAST(f."_count0" AS DOUBLE) * LN(CAST(f."_count0" AS DOUBLE)) * 68719476736) AS BIGINT)
        ELSE 0
      END
    ) AS DOUBLE) / NULLIF(SUM(f."_count0"), 0) / 68719476736.0
    WHEN COUNT(*) FILTER(WHERE
      f."_count0" > 0) = 1
    THEN 0.0
  END AS f0
FROM (
  SELECT
    s."_row",
    COUNT(CASE WHEN f."_at" >= (
      s."as_of" - 2592000000000
    ) THEN 1 END) AS "_count0"
  FROM spine AS s
  JOIN facts AS f
    ON f."_owner" = s."lead_id" AND f."_at" < s."as_of" AND f."_known" < s."as_of"
  WHERE
    NOT f."channel" IS NULL
  GROUP BY
    s."_row",
    f."channel"
) AS f
GROUP BY
  f."_row";

WITH facts AS (
  SELECT
    o."account_id" AS "_owner",
    x."created_at" AS "_at",
    CASE
      WHEN x."created_at" > o."created_at"
      THEN x."created_at"
      ELSE o."created_at"
    END AS "_known",
    x."lead_id" AS "_lead"
  FROM leads AS x
  JOIN leads AS o
    ON o."lead_id" = x."lead_id"
)
SELECT
  s."_row",
  COUNT(*) AS f0
FROM spine AS s
JOIN leads AS l
  ON l."lead_id" = s."lead_id" AND l."created_at" < s."as_of"
JOIN facts AS f
  ON f."_owner" = l."account_id"
  AND f."_at" < s."as_of"
  AND f."_known" < s."as_of"
  AND f."_lead" <> s."lead_id"
GROUP BY
  s."_row";

WITH facts AS (
  SELECT
    o."account_id" AS "_owner",
    x."occurred_at" AS "_at",
    CASE WHEN x."known_at" > o."created_at" THEN x."known_at" ELSE o."created_at" END AS "_known",
    x."lead_id" AS "_lead",
    x."kind" AS "kind"
  FROM events AS x
  JOIN leads AS o
    ON o."lead_id" = x."lead_id"
)
SELECT
  s."_row",
  f."kind",
  CAST(MIN(s."as_of" - f."_at") AS DOUBLE) / 86400000000.0 AS f0
FROM spine AS s
JOIN leads AS l
  ON l."lead_id" = s."lead_id" AND l."created_at" < s."as_of"
JOIN facts AS f
  ON f."_owner" = l."account_id"
  AND f."_at" < s."as_of"
  AND f."_known" < s."as_of"
  AND NOT f."kind" IS NULL
  AND f."_lead" <> s."lead_id"
GROUP BY
  s."_row",
  f."kind";

WITH facts AS (
  SELECT
    o."account_id" AS "_owner",
    x."occurred_at" AS "_at",
    CASE WHEN x."known_at" > o."created_at" THEN x."known_at" ELSE o."created_at" END AS "_known",
    x."lead_id" AS "_lead",
    x."deal_value" AS "deal_value",
    x."outcome" AS "outcome"
  FROM outcomes AS x
  JOIN leads AS o
    ON o."lead_id" = x."lead_id"
)
SELECT
  s."_row",
  f."outcome",
  COALESCE(SUM(f."deal_value"), 0) AS f0
FROM spine AS s
JOIN leads AS l
  ON l."lead_id" = s."lead_id" AND l."created_at" < s."as_of"
JOIN facts AS f
  ON f."_owner" = l."account_id"
  AND f."_at" < s."as_of"
  AND f."_known" < s."as_of"
  AND NOT f."outcome" IS NULL
  AND f."_lead" <> s."lead_id"
GROUP BY
  s."_row",
  f."outcome";
