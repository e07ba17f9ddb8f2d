WITH events_lead_facts AS (
  SELECT
    x.`lead_id` AS `_owner`,
    x.`occurred_at` AS `_at`,
    x.`known_at` AS `_known`,
    x.`channel` AS `channel`,
    x.`kind` AS `kind`,
    x.`page` AS `page`,
    x.`value` AS `value`,
    MIN(
      CASE
        WHEN x.`kind` = 'visit'
        THEN CASE WHEN x.`known_at` > x.`occurred_at` THEN x.`known_at` ELSE x.`occurred_at` END
      END
    ) OVER (
      PARTITION BY x.`lead_id`
      ORDER BY x.`occurred_at` ASC, x.`lead_id` ASC, x.`event_id` ASC
      ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING
    ) AS `_until8`
  FROM events AS x
), events_lead_wide AS (
  SELECT
    s.`_row`,
    COUNT(*) FILTER(WHERE
      f.`kind` = 'call' AND f.`_at` >= (
        s.`as_of` - 604800000000
      )) AS f0,
    COALESCE(SUM(f.`value`) FILTER(WHERE
      f.`kind` = 'call'), 0) AS f1,
    AVG(f.`value`) FILTER(WHERE
      f.`kind` = 'call' AND f.`_at` >= (
        s.`as_of` - 2592000000000
      )) AS f2,
    MIN(f.`value`) FILTER(WHERE
      f.`kind` = 'call') AS f3,
    MAX(f.`value`) FILTER(WHERE
      f.`kind` = 'call') AS f4,
    COUNT(DISTINCT f.`page`) FILTER(WHERE
      f.`kind` = 'visit') AS f5,
    CAST(MAX(s.`as_of` - f.`_at`) FILTER(WHERE
      f.`kind` = 'visit') AS DOUBLE) / 86400000000.0 AS f6,
    CAST(MIN(s.`as_of` - f.`_at`) FILTER(WHERE
      f.`kind` = 'visit') AS DOUBLE) / 86400000000.0 AS f7,
    MAX(f.`page`) FILTER(WHERE
      f.`kind` = 'visit' AND COALESCE(f.`_until8`, s.`as_of`) >= s.`as_of`) AS f8,
    CAST(COUNT(*) FILTER(WHERE
      f.`kind` = 'call' AND f.`_at` >= (
        s.`as_of` - 604800000000
      )) AS DOUBLE) / NULLIF(
      COUNT(*) FILTER(WHERE
        f.`kind` = 'call' AND f.`_at` >= (
          s.`as_of` - 2592000000000
        )),
      0
    ) AS f9,
    COUNT(*) FILTER(WHERE
      f.`channel` = 'web' AND f.`kind` IN ('o\'k', 'say "hi"')) AS f10
  FROM spine AS s
  JOIN events_lead_facts AS f
    ON f.`_owner` = s.`lead_id` AND f.`_at` < s.`as_of` AND f.`_known` < s.`as_of`
  GROUP BY
    s.`_row`
), events_account_facts AS (
  SELECT
    o.`account_id` AS `_owner`,
    x.`occurred_at` AS `_at`,
    CASE WHEN x.`known_at` > o.`created_at` THEN x.`known_at` ELSE o.`created_at` END AS `_known`,
    x.`kind` AS `kind`,
    x.`page` AS `page`,
    MIN(
      CASE
        WHEN x.`kind` = 'visit'
        THEN CASE
          WHEN CASE WHEN x.`known_at` > o.`created_at` THEN x.`known_at` ELSE o.`created_at` END > x.`occurred_at`
          THEN CASE WHEN x.`known_at` > o.`created_at` THEN x.`known_at` ELSE o.`created_at` END
          ELSE x.`occurred_at`
        END
      END
    ) OVER (
      PARTITION BY o.`account_id`
      ORDER BY x.`occurred_at` ASC, x.`lead_id` ASC, x.`event_id` ASC
      ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING
    ) AS `_until12`
  FROM events AS x
  JOIN leads AS o
    ON o.`lead_id` = x.`lead_id`
), events_account_wide AS (
  SELECT
    s.`_row`,
    COUNT(*) FILTER(WHERE
      f.`kind` = 'call' AND f.`_at` >= (
        s.`as_of` - 129600000000
      )) AS f11,
    MAX(f.`page`) FILTER(WHERE
      f.`kind` = 'visit' AND COALESCE(f.`_until12`, s.`as_of`) >= s.`as_of`) AS f12
  FROM spine AS s
  JOIN leads AS l
    ON l.`lead_id` = s.`lead_id` AND l.`created_at` < s.`as_of`
  JOIN events_account_facts AS f
    ON f.`_owner` = l.`account_id` AND f.`_at` < s.`as_of` AND f.`_known` < s.`as_of`
  GROUP BY
    s.`_row`
), changes_lead_facts AS (
  SELECT
    x.`lead_id` AS `_owner`,
    x.`known_at` AS `_at`,
    x.`known_at` AS `_known`,
    x.`field` AS `field`,
    x.`value` AS `value`,
    MIN(
      CASE
        WHEN x.`field` = 'stage'
        THEN CASE WHEN x.`known_at` > x.`known_at` THEN x.`known_at` ELSE x.`known_at` END
      END
    ) OVER (
      PARTITION BY x.`lead_id`
      ORDER BY x.`known_at` ASC, x.`lead_id` ASC, x.`change_id` ASC
      ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING
    ) AS `_until13`
  FROM changes AS x
), changes_lead_wide AS (
  SELECT
    s.`_row`,
    MAX(f.`value`) FILTER(WHERE
      f.`field` = 'stage' AND COALESCE(f.`_until13`, s.`as_of`) >= s.`as_of`) AS f13,
    CAST(MIN(s.`as_of` - f.`_at`) FILTER(WHERE
      f.`field` = 'stage') AS DOUBLE) / 86400000000.0 AS f14
  FROM spine AS s
  JOIN changes_lead_facts AS f
    ON f.`_owner` = s.`lead_id` AND f.`_at` < s.`as_of` AND f.`_known` < s.`as_of`
  GROUP BY
    s.`_row`
)
SELECT
  s.`_row`,
  COALESCE(events_lead.`f0`, 0) AS f0,
  COALESCE(events_lead.`f1`, 0) AS f1,
  events_lead.`f2` AS f2,
  events_lead.`f3` AS f3,
  events_lead.`f4` AS f4,
  COALESCE(events_lead.`f5`, 0) AS f5,
  events_lead.`f6` AS f6,
  events_lead.`f7` AS f7,
  events_lead.`f8` AS f8,
  events_lead.`f9` AS f9,
  COALESCE(events_lead.`f10`, 0) AS f10,
  COALESCE(events_account.`f11`, 0) AS f11,
  events_account.`f12` AS f12,
  changes_lead.`f13` AS f13,
  changes_lead.`f14` AS f14,
  l.`industry` AS f15,
  CAST(s.`as_of` - l.`created_at` AS DOUBLE) / 86400000000.0 AS f16
FROM spine AS s
LEFT JOIN leads AS l
  ON l.`lead_id` = s.`lead_id` AND l.`created_at` < s.`as_of`
LEFT JOIN events_lead_wide AS events_lead
  ON events_lead.`_row` = s.`_row`
LEFT JOIN events_account_wide AS events_account
  ON events_account.`_row` = s.`_row`
LEFT JOIN changes_lead_wide AS changes_lead
  ON changes_lead.`_row` = s.`_row`;
