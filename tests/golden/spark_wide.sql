WITH part0_facts AS (
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
      ORDER BY x.`occurred_at` DESC, x.`lead_id` DESC, x.`event_id` DESC
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS `_until8`
  FROM events AS x
), part0 AS (
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
      f.`channel` = 'web' AND f.`kind` IN ('o\'k', 'say "hi"')) AS f10,
    STDDEV_SAMP(f.`value`) FILTER(WHERE
      f.`kind` = 'call') AS f17,
    CAST((
      CAST(COUNT(*) FILTER(WHERE
        f.`kind` = 'call' AND f.`_at` >= (
          s.`as_of` - 604800000000
        )) AS DOUBLE) * 4.285714285714286
    ) AS DOUBLE) / NULLIF(
      COUNT(*) FILTER(WHERE
        f.`kind` = 'call' AND f.`_at` >= (
          s.`as_of` - 2592000000000
        )),
      0
    ) AS f18,
    COALESCE(
      SUM(
        CASE
          WHEN (
            s.`as_of` - f.`_at`
          ) < 1209600000000000
          THEN EXP(CAST(s.`as_of` - f.`_at` AS DOUBLE) * -5.73038343716886e-13)
          ELSE 0.0
        END
      ) FILTER(WHERE
        f.`kind` = 'call'),
      0
    ) AS f19,
    CAST(CAST((
      MAX(f.`_at`) FILTER(WHERE
        f.`kind` = 'call') - MIN(f.`_at`) FILTER(WHERE
        f.`kind` = 'call')
    ) AS DOUBLE) / 86400000000.0 AS DOUBLE) / NULLIF((
      COUNT(*) FILTER(WHERE
        f.`kind` = 'call') - 1
    ), 0) AS f20,
    CAST(COUNT(*) FILTER(WHERE
      f.`kind` = 'call' AND f.`_at` >= (
        s.`as_of` - 2592000000000
      )) AS DOUBLE) / NULLIF(COUNT(*) FILTER(WHERE
      f.`_at` >= (
        s.`as_of` - 2592000000000
      )), 0) AS f21,
    CASE
      WHEN COUNT(*) FILTER(WHERE
        f.`kind` = 'task started') > COUNT(*) FILTER(WHERE
        f.`kind` = 'task ended')
      THEN COUNT(*) FILTER(WHERE
        f.`kind` = 'task started') - COUNT(*) FILTER(WHERE
        f.`kind` = 'task ended')
      ELSE 0
    END AS f22,
    CAST((
      (
        MAX(f.`_at`) FILTER(WHERE
          f.`kind` = 'call') + 2419441200000000
      ) % 86400000000 - (
        MAX(f.`_at`) FILTER(WHERE
          f.`kind` = 'call') + 2419441200000000
      ) % 3600000000
    ) AS DOUBLE) / 3600000000.0 AS f23,
    CAST((
      (
        MAX(f.`_at`) FILTER(WHERE
          f.`kind` = 'call') + 2419459200000000
      ) % 604800000000 - (
        MAX(f.`_at`) FILTER(WHERE
          f.`kind` = 'call') + 2419459200000000
      ) % 86400000000
    ) AS DOUBLE) / 86400000000.0 AS f24,
    AVG(
      CAST(CASE
        WHEN (
          (
            f.`_at` + 2419462800000000
          ) % 604800000000
        ) < 432000000000
        AND (
          (
            f.`_at` + 2419462800000000
          ) % 86400000000
        ) >= 32400000000
        AND (
          (
            f.`_at` + 2419462800000000
          ) % 86400000000
        ) < 64800000000
        THEN 1
        ELSE 0
      END AS DOUBLE)
    ) FILTER(WHERE
      f.`kind` = 'call' AND f.`_at` >= (
        s.`as_of` - 2592000000000
      )) AS f25
  FROM spine AS s
  JOIN part0_facts AS f
    ON f.`_owner` = s.`lead_id` AND f.`_at` < s.`as_of` AND f.`_known` < s.`as_of`
  GROUP BY
    s.`_row`
), part1_facts AS (
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
      ORDER BY x.`occurred_at` DESC, x.`lead_id` DESC, x.`event_id` DESC
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS `_until12`
  FROM events AS x
  JOIN leads AS o
    ON o.`lead_id` = x.`lead_id`
), part1 AS (
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
  JOIN part1_facts AS f
    ON f.`_owner` = l.`account_id` AND f.`_at` < s.`as_of` AND f.`_known` < s.`as_of`
  GROUP BY
    s.`_row`
), part2_facts AS (
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
      ORDER BY x.`known_at` DESC, x.`lead_id` DESC, x.`change_id` DESC
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS `_until13`
  FROM changes AS x
), part2 AS (
  SELECT
    s.`_row`,
    MAX(f.`value`) FILTER(WHERE
      f.`field` = 'stage' AND COALESCE(f.`_until13`, s.`as_of`) >= s.`as_of`) AS f13,
    CAST(MIN(s.`as_of` - f.`_at`) FILTER(WHERE
      f.`field` = 'stage') AS DOUBLE) / 86400000000.0 AS f14
  FROM spine AS s
  JOIN part2_facts AS f
    ON f.`_owner` = s.`lead_id` AND f.`_at` < s.`as_of` AND f.`_known` < s.`as_of`
  GROUP BY
    s.`_row`
), part3_facts AS (
  SELECT
    x.`lead_id` AS `_owner`,
    x.`occurred_at` AS `_at`,
    x.`known_at` AS `_known`,
    x.`kind` AS `kind`,
    x.`lead_id` AS `_lead`,
    x.`event_id` AS `_id`
  FROM events AS x
), part3 AS (
  SELECT
    f.`_row`,
    MAX(f.`kind`) FILTER(WHERE
      f.`_rank` = 3) AS f26
  FROM (
    SELECT
      s.`_row`,
      s.`as_of`,
      f.`_at`,
      f.`kind`,
      ROW_NUMBER() OVER (PARTITION BY s.`_row` ORDER BY f.`_at` DESC, f.`_lead` DESC, f.`_id` DESC) AS `_rank`,
      LEAD(f.`_at`) OVER (PARTITION BY s.`_row` ORDER BY f.`_at` DESC, f.`_lead` DESC, f.`_id` DESC) AS `_before`
    FROM spine AS s
    JOIN part3_facts AS f
      ON f.`_owner` = s.`lead_id` AND f.`_at` < s.`as_of` AND f.`_known` < s.`as_of`
  ) AS f
  GROUP BY
    f.`_row`
), part4_facts AS (
  SELECT
    x.`lead_id` AS `_owner`,
    x.`occurred_at` AS `_at`,
    x.`known_at` AS `_known`,
    x.`kind` AS `kind`,
    x.`lead_id` AS `_lead`,
    x.`event_id` AS `_id`
  FROM events AS x
), part4 AS (
  SELECT
    f.`_row`,
    CAST(MAX(f.`_at` - f.`_before`) FILTER(WHERE
      f.`_rank` = 1) AS DOUBLE) / 86400000000.0 AS f27,
    CAST(STDDEV_SAMP(CAST(f.`_at` - f.`_before` AS DOUBLE)) FILTER(WHERE
      f.`_before` >= (
        f.`as_of` - 7776000000000
      )) AS DOUBLE) / NULLIF(
      AVG(CAST(f.`_at` - f.`_before` AS DOUBLE)) FILTER(WHERE
        f.`_before` >= (
          f.`as_of` - 7776000000000
        )),
      0
    ) AS f28
  FROM (
    SELECT
      s.`_row`,
      s.`as_of`,
      f.`_at`,
      ROW_NUMBER() OVER (PARTITION BY s.`_row` ORDER BY f.`_at` DESC, f.`_lead` DESC, f.`_id` DESC) AS `_rank`,
      LEAD(f.`_at`) OVER (PARTITION BY s.`_row` ORDER BY f.`_at` DESC, f.`_lead` DESC, f.`_id` DESC) AS `_before`
    FROM spine AS s
    JOIN part4_facts AS f
      ON f.`_owner` = s.`lead_id` AND f.`_at` < s.`as_of` AND f.`_known` < s.`as_of`
    WHERE
      (
        f.`kind` = 'call'
      )
  ) AS f
  GROUP BY
    f.`_row`
), part5_facts AS (
  SELECT
    x.`lead_id` AS `_owner`,
    x.`occurred_at` AS `_at`,
    x.`known_at` AS `_known`,
    x.`channel` AS `channel`
  FROM events AS x
), part5 AS (
  SELECT
    f.`_row`,
    CASE
      WHEN COUNT(*) FILTER(WHERE
        f.`_count29` > 0) > 1
      THEN LN(NULLIF(CAST(SUM(f.`_count29`) AS DOUBLE), 0)) - CAST(SUM(
        CASE
          WHEN f.`_count29` > 1
          THEN CAST(ROUND(CAST(f.`_count29` AS DOUBLE) * LN(CAST(f.`_count29` AS DOUBLE)) * 68719476736) AS BIGINT)
          ELSE 0
        END
      ) AS DOUBLE) / NULLIF(SUM(f.`_count29`), 0) / 68719476736.0
      WHEN COUNT(*) FILTER(WHERE
        f.`_count29` > 0) = 1
      THEN 0.0
    END AS f29
  FROM (
    SELECT
      s.`_row`,
      COUNT(*) FILTER(WHERE
        f.`_at` >= (
          s.`as_of` - 2592000000000
        )) AS `_count29`
    FROM spine AS s
    JOIN part5_facts AS f
      ON f.`_owner` = s.`lead_id` AND f.`_at` < s.`as_of` AND f.`_known` < s.`as_of`
    WHERE
      NOT f.`channel` IS NULL
    GROUP BY
      s.`_row`,
      f.`channel`
  ) AS f
  GROUP BY
    f.`_row`
), part6_facts AS (
  SELECT
    x.`lead_id` AS `_owner`,
    x.`occurred_at` AS `_at`,
    x.`known_at` AS `_known`,
    x.`kind` AS `kind`,
    x.`lead_id` AS `_lead`,
    x.`event_id` AS `_id`
  FROM events AS x
), part6 AS (
  SELECT
    f.`_row`,
    CAST(AVG(CAST(f.`_at` - f.`_before` AS DOUBLE)) FILTER(WHERE
      f.`_answers30` = 1
      AND f.`_asked30` = 0
      AND f.`_before` >= (
        f.`as_of` - 2592000000000
      )) AS DOUBLE) / 86400000000.0 AS f30
  FROM (
    SELECT
      s.`_row`,
      s.`as_of`,
      f.`_at`,
      ROW_NUMBER() OVER (PARTITION BY s.`_row` ORDER BY f.`_at` DESC, f.`_lead` DESC, f.`_id` DESC) AS `_rank`,
      LEAD(f.`_at`) OVER (PARTITION BY s.`_row` ORDER BY f.`_at` DESC, f.`_lead` DESC, f.`_id` DESC) AS `_before`,
      CASE WHEN f.`kind` = 'call' THEN 1 ELSE 0 END AS `_answers30`,
      LEAD(CASE WHEN f.`kind` = 'call' THEN 1 ELSE 0 END) OVER (PARTITION BY s.`_row` ORDER BY f.`_at` DESC, f.`_lead` DESC, f.`_id` DESC) AS `_asked30`
    FROM spine AS s
    JOIN part6_facts AS f
      ON f.`_owner` = s.`lead_id` AND f.`_at` < s.`as_of` AND f.`_known` < s.`as_of`
    WHERE
      (
        f.`kind` = 'call'
      ) OR (
        f.`kind` = 'visit'
      )
  ) AS f
  GROUP BY
    f.`_row`
), part7_facts AS (
  SELECT
    o.`account_id` AS `_owner`,
    x.`created_at` AS `_at`,
    CASE
      WHEN x.`created_at` > o.`created_at`
      THEN x.`created_at`
      ELSE o.`created_at`
    END AS `_known`,
    x.`lead_id` AS `_lead`
  FROM leads AS x
  JOIN leads AS o
    ON o.`lead_id` = x.`lead_id`
), part7 AS (
  SELECT
    s.`_row`,
    COUNT(*) AS f31
  FROM spine AS s
  JOIN leads AS l
    ON l.`lead_id` = s.`lead_id` AND l.`created_at` < s.`as_of`
  JOIN part7_facts AS f
    ON f.`_owner` = l.`account_id`
    AND f.`_at` < s.`as_of`
    AND f.`_known` < s.`as_of`
    AND f.`_lead` <> s.`lead_id`
  GROUP BY
    s.`_row`
), part8_facts AS (
  SELECT
    o.`account_id` AS `_owner`,
    x.`occurred_at` AS `_at`,
    CASE WHEN x.`known_at` > o.`created_at` THEN x.`known_at` ELSE o.`created_at` END AS `_known`,
    x.`lead_id` AS `_lead`,
    x.`kind` AS `kind`
  FROM events AS x
  JOIN leads AS o
    ON o.`lead_id` = x.`lead_id`
), part8 AS (
  SELECT
    s.`_row`,
    CAST(MIN(s.`as_of` - f.`_at`) FILTER(WHERE
      f.`kind` = 'visit') AS DOUBLE) / 86400000000.0 AS f32
  FROM spine AS s
  JOIN leads AS l
    ON l.`lead_id` = s.`lead_id` AND l.`created_at` < s.`as_of`
  JOIN part8_facts AS f
    ON f.`_owner` = l.`account_id`
    AND f.`_at` < s.`as_of`
    AND f.`_known` < s.`as_of`
    AND f.`_lead` <> s.`lead_id`
  GROUP BY
    s.`_row`
), part9_facts AS (
  SELECT
    o.`account_id` AS `_owner`,
    x.`occurred_at` AS `_at`,
    CASE WHEN x.`known_at` > o.`created_at` THEN x.`known_at` ELSE o.`created_at` END AS `_known`,
    x.`lead_id` AS `_lead`,
    x.`deal_value` AS `deal_value`,
    x.`outcome` AS `outcome`
  FROM outcomes AS x
  JOIN leads AS o
    ON o.`lead_id` = x.`lead_id`
), part9 AS (
  SELECT
    s.`_row`,
    COALESCE(SUM(f.`deal_value`) FILTER(WHERE
      f.`outcome` = 'won'), 0) AS f33
  FROM spine AS s
  JOIN leads AS l
    ON l.`lead_id` = s.`lead_id` AND l.`created_at` < s.`as_of`
  JOIN part9_facts AS f
    ON f.`_owner` = l.`account_id`
    AND f.`_at` < s.`as_of`
    AND f.`_known` < s.`as_of`
    AND f.`_lead` <> s.`lead_id`
  GROUP BY
    s.`_row`
), part10_settled AS (
  SELECT
    -ROW_NUMBER() OVER (ORDER BY x.`lead_id` ASC, x.`outcome` ASC) AS `_row`,
    x.`lead_id` AS `lead_id`,
    x.`outcome` AS `outcome`,
    x.`occurred_at` AS `occurred_at`,
    CASE WHEN x.`known_at` > x.`occurred_at` THEN x.`known_at` ELSE x.`occurred_at` END AS `seen`
  FROM outcomes AS x
), part10_points AS (
  SELECT
    x.`_row` AS `_row`,
    x.`lead_id` AS `lead_id`,
    x.`as_of` AS `as_of`
  FROM spine AS x
  UNION ALL
  SELECT
    x.`_row` AS `_row`,
    x.`lead_id` AS `lead_id`,
    x.`occurred_at` AS `as_of`
  FROM part10_settled AS x
), part10_segment AS (
  SELECT
    s.`_row`,
    l.`industry` AS f0
  FROM part10_points AS s
  LEFT JOIN leads AS l
    ON l.`lead_id` = s.`lead_id` AND l.`created_at` < s.`as_of`
), part10_ledger AS (
  SELECT
    CAST(s.`_row` AS BIGINT) AS `_row`,
    g.`f0` AS `segment`,
    s.`as_of` AS `moment`,
    0 AS `fact`,
    0 AS `_won`,
    0 AS `_all`
  FROM spine AS s
  JOIN part10_segment AS g
    ON g.`_row` = s.`_row`
  WHERE
    NOT g.`f0` IS NULL
  UNION ALL
  SELECT
    CAST(NULL AS BIGINT) AS `_row`,
    g.`f0` AS `segment`,
    o.`seen` AS `moment`,
    1 AS `fact`,
    CASE WHEN o.`outcome` = 'won' THEN 1 ELSE 0 END AS `_won`,
    1 AS `_all`
  FROM part10_settled AS o
  JOIN part10_segment AS g
    ON g.`_row` = o.`_row`
  WHERE
    NOT g.`f0` IS NULL
), part10_sums AS (
  SELECT
    t.`_row` AS `_row`,
    SUM(t.`_won`) OVER (
      PARTITION BY t.`segment`
      ORDER BY t.`moment` ASC, t.`fact` ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `_won`,
    SUM(t.`_won`) OVER (
      ORDER BY t.`moment` ASC, t.`fact` ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `_of_won`,
    SUM(t.`_all`) OVER (
      PARTITION BY t.`segment`
      ORDER BY t.`moment` ASC, t.`fact` ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `_all`,
    SUM(t.`_all`) OVER (
      ORDER BY t.`moment` ASC, t.`fact` ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `_of_all`
  FROM part10_ledger AS t
), part10 AS (
  SELECT
    r.`_row`,
    CAST((
      r.`_won` + 20 * (
        CAST(r.`_of_won` AS DOUBLE) / NULLIF(r.`_of_all`, 0)
      )
    ) AS DOUBLE) / NULLIF((
      r.`_all` + 20
    ), 0) AS f34
  FROM part10_sums AS r
  WHERE
    NOT r.`_row` IS NULL
), part11_settled AS (
  SELECT
    -ROW_NUMBER() OVER (ORDER BY x.`lead_id` ASC, x.`outcome` ASC) AS `_row`,
    x.`lead_id` AS `lead_id`,
    x.`outcome` AS `outcome`,
    x.`occurred_at` AS `occurred_at`,
    CASE WHEN x.`known_at` > x.`occurred_at` THEN x.`known_at` ELSE x.`occurred_at` END AS `seen`
  FROM outcomes AS x
), part11_points AS (
  SELECT
    x.`_row` AS `_row`,
    x.`lead_id` AS `lead_id`,
    x.`as_of` AS `as_of`
  FROM spine AS x
  UNION ALL
  SELECT
    x.`_row` AS `_row`,
    x.`lead_id` AS `lead_id`,
    x.`occurred_at` AS `as_of`
  FROM part11_settled AS x
), part11_part0_facts AS (
  SELECT
    x.`lead_id` AS `_owner`,
    x.`known_at` AS `_at`,
    x.`known_at` AS `_known`,
    x.`field` AS `field`,
    x.`value` AS `value`,
    MIN(
      CASE
        WHEN x.`field` = 'owner'
        THEN CASE WHEN x.`known_at` > x.`known_at` THEN x.`known_at` ELSE x.`known_at` END
      END
    ) OVER (
      PARTITION BY x.`lead_id`
      ORDER BY x.`known_at` DESC, x.`lead_id` DESC, x.`change_id` DESC
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS `_until0`
  FROM changes AS x
), part11_part0 AS (
  SELECT
    s.`_row`,
    MAX(f.`value`) FILTER(WHERE
      f.`field` = 'owner' AND COALESCE(f.`_until0`, s.`as_of`) >= s.`as_of`) AS f0
  FROM part11_points AS s
  JOIN part11_part0_facts AS f
    ON f.`_owner` = s.`lead_id` AND f.`_at` < s.`as_of` AND f.`_known` < s.`as_of`
  GROUP BY
    s.`_row`
), part11_segment AS (
  SELECT
    s.`_row`,
    p0.`f0` AS f0
  FROM part11_points AS s
  LEFT JOIN leads AS l
    ON l.`lead_id` = s.`lead_id` AND l.`created_at` < s.`as_of`
  LEFT JOIN part11_part0 AS p0
    ON p0.`_row` = s.`_row`
), part11_held AS (
  SELECT
    h.`segment` AS `segment`,
    h.`begins` AS `begins`,
    CASE WHEN h.`until` < d.`seen` THEN h.`until` ELSE COALESCE(d.`seen`, h.`until`) END AS `ends`
  FROM (
    SELECT
      c.`value` AS `segment`,
      CASE WHEN c.`known_at` > l.`created_at` THEN c.`known_at` ELSE l.`created_at` END AS `begins`,
      LEAD(c.`known_at`) OVER (PARTITION BY c.`lead_id` ORDER BY c.`known_at` ASC, c.`change_id` ASC) AS `until`,
      c.`lead_id` AS `lead_id`
    FROM changes AS c
    JOIN leads AS l
      ON l.`lead_id` = c.`lead_id`
    WHERE
      c.`field` = 'owner'
  ) AS h
  LEFT JOIN (
    SELECT
      o.`lead_id` AS `lead_id`,
      MIN(o.`seen`) AS `seen`
    FROM part11_settled AS o
    GROUP BY
      o.`lead_id`
  ) AS d
    ON d.`lead_id` = h.`lead_id`
), part11_ledger AS (
  SELECT
    CAST(s.`_row` AS BIGINT) AS `_row`,
    g.`f0` AS `segment`,
    s.`as_of` AS `moment`,
    0 AS `fact`,
    0 AS `_won7776000000000`,
    0 AS `_all7776000000000`,
    0 AS `_won2592000000000`,
    0 AS `_all2592000000000`,
    0 AS `_open`
  FROM spine AS s
  JOIN part11_segment AS g
    ON g.`_row` = s.`_row`
  WHERE
    NOT g.`f0` IS NULL
  UNION ALL
  SELECT
    CAST(NULL AS BIGINT) AS `_row`,
    g.`f0` AS `segment`,
    o.`seen` AS `moment`,
    1 AS `fact`,
    CASE WHEN o.`outcome` = 'won' THEN 1 ELSE 0 END AS `_won7776000000000`,
    1 AS `_all7776000000000`,
    CASE WHEN o.`outcome` = 'won' THEN 1 ELSE 0 END AS `_won2592000000000`,
    1 AS `_all2592000000000`,
    0 AS `_open`
  FROM part11_settled AS o
  JOIN part11_segment AS g
    ON g.`_row` = o.`_row`
  WHERE
    NOT g.`f0` IS NULL
  UNION ALL
  SELECT
    CAST(NULL AS BIGINT) AS `_row`,
    g.`f0` AS `segment`,
    CASE
      WHEN (
        o.`occurred_at` + 7776000000000
      ) > o.`seen`
      THEN o.`occurred_at` + 7776000000000
      ELSE o.`seen`
    END AS `moment`,
    1 AS `fact`,
    -CASE WHEN o.`outcome` = 'won' THEN 1 ELSE 0 END AS `_won7776000000000`,
    -1 AS `_all7776000000000`,
    0 AS `_won2592000000000`,
    0 AS `_all2592000000000`,
    0 AS `_open`
  FROM part11_settled AS o
  JOIN part11_segment AS g
    ON g.`_row` = o.`_row`
  WHERE
    NOT g.`f0` IS NULL
  UNION ALL
  SELECT
    CAST(NULL AS BIGINT) AS `_row`,
    g.`f0` AS `segment`,
    CASE
      WHEN (
        o.`occurred_at` + 2592000000000
      ) > o.`seen`
      THEN o.`occurred_at` + 2592000000000
      ELSE o.`seen`
    END AS `moment`,
    1 AS `fact`,
    0 AS `_won7776000000000`,
    0 AS `_all7776000000000`,
    -CASE WHEN o.`outcome` = 'won' THEN 1 ELSE 0 END AS `_won2592000000000`,
    -1 AS `_all2592000000000`,
    0 AS `_open`
  FROM part11_settled AS o
  JOIN part11_segment AS g
    ON g.`_row` = o.`_row`
  WHERE
    NOT g.`f0` IS NULL
  UNION ALL
  SELECT
    CAST(NULL AS BIGINT) AS `_row`,
    h.`segment` AS `segment`,
    h.`begins` AS `moment`,
    1 AS `fact`,
    0 AS `_won7776000000000`,
    0 AS `_all7776000000000`,
    0 AS `_won2592000000000`,
    0 AS `_all2592000000000`,
    1 AS `_open`
  FROM part11_held AS h
  WHERE
    NOT h.`segment` IS NULL
    AND (
      (
        h.`begins` < h.`ends`
      ) OR (
        h.`ends` IS NULL
      )
    )
  UNION ALL
  SELECT
    CAST(NULL AS BIGINT) AS `_row`,
    h.`segment` AS `segment`,
    h.`ends` AS `moment`,
    1 AS `fact`,
    0 AS `_won7776000000000`,
    0 AS `_all7776000000000`,
    0 AS `_won2592000000000`,
    0 AS `_all2592000000000`,
    -1 AS `_open`
  FROM part11_held AS h
  WHERE
    NOT h.`segment` IS NULL AND (
      h.`begins` < h.`ends`
    )
), part11_sums AS (
  SELECT
    t.`_row` AS `_row`,
    SUM(t.`_won7776000000000`) OVER (
      PARTITION BY t.`segment`
      ORDER BY t.`moment` ASC, t.`fact` ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `_won7776000000000`,
    SUM(t.`_won7776000000000`) OVER (
      ORDER BY t.`moment` ASC, t.`fact` ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `_of_won7776000000000`,
    SUM(t.`_all7776000000000`) OVER (
      PARTITION BY t.`segment`
      ORDER BY t.`moment` ASC, t.`fact` ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `_all7776000000000`,
    SUM(t.`_all7776000000000`) OVER (
      ORDER BY t.`moment` ASC, t.`fact` ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `_of_all7776000000000`,
    SUM(t.`_won2592000000000`) OVER (
      PARTITION BY t.`segment`
      ORDER BY t.`moment` ASC, t.`fact` ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `_won2592000000000`,
    SUM(t.`_won2592000000000`) OVER (
      ORDER BY t.`moment` ASC, t.`fact` ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `_of_won2592000000000`,
    SUM(t.`_all2592000000000`) OVER (
      PARTITION BY t.`segment`
      ORDER BY t.`moment` ASC, t.`fact` ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `_all2592000000000`,
    SUM(t.`_all2592000000000`) OVER (
      ORDER BY t.`moment` ASC, t.`fact` ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `_of_all2592000000000`,
    SUM(t.`_open`) OVER (
      PARTITION BY t.`segment`
      ORDER BY t.`moment` ASC, t.`fact` ASC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS `_open`
  FROM part11_ledger AS t
), part11 AS (
  SELECT
    r.`_row`,
    CAST((
      r.`_won7776000000000` + 20 * (
        CAST(r.`_of_won7776000000000` AS DOUBLE) / NULLIF(r.`_of_all7776000000000`, 0)
      )
    ) AS DOUBLE) / NULLIF((
      r.`_all7776000000000` + 20
    ), 0) AS f35,
    r.`_won2592000000000` AS f36,
    r.`_open` AS f37
  FROM part11_sums AS r
  WHERE
    NOT r.`_row` IS NULL
)
SELECT
  s.`_row`,
  COALESCE(p0.`f0`, 0) AS f0,
  COALESCE(p0.`f1`, 0) AS f1,
  p0.`f2` AS f2,
  p0.`f3` AS f3,
  p0.`f4` AS f4,
  COALESCE(p0.`f5`, 0) AS f5,
  p0.`f6` AS f6,
  p0.`f7` AS f7,
  p0.`f8` AS f8,
  p0.`f9` AS f9,
  COALESCE(p0.`f10`, 0) AS f10,
  COALESCE(p1.`f11`, 0) AS f11,
  p1.`f12` AS f12,
  p2.`f13` AS f13,
  p2.`f14` AS f14,
  l.`industry` AS f15,
  CAST(s.`as_of` - l.`created_at` AS DOUBLE) / 86400000000.0 AS f16,
  p0.`f17` AS f17,
  p0.`f18` AS f18,
  COALESCE(p0.`f19`, 0) AS f19,
  p0.`f20` AS f20,
  p0.`f21` AS f21,
  COALESCE(p0.`f22`, 0) AS f22,
  p0.`f23` AS f23,
  p0.`f24` AS f24,
  p0.`f25` AS f25,
  p3.`f26` AS f26,
  p4.`f27` AS f27,
  p4.`f28` AS f28,
  p5.`f29` AS f29,
  p6.`f30` AS f30,
  COALESCE(p7.`f31`, 0) AS f31,
  p8.`f32` AS f32,
  COALESCE(p9.`f33`, 0) AS f33,
  p10.`f34` AS f34,
  p11.`f35` AS f35,
  p11.`f36` AS f36,
  p11.`f37` AS f37
FROM spine AS s
LEFT JOIN leads AS l
  ON l.`lead_id` = s.`lead_id` AND l.`created_at` < s.`as_of`
LEFT JOIN part0 AS p0
  ON p0.`_row` = s.`_row`
LEFT JOIN part1 AS p1
  ON p1.`_row` = s.`_row`
LEFT JOIN part2 AS p2
  ON p2.`_row` = s.`_row`
LEFT JOIN part3 AS p3
  ON p3.`_row` = s.`_row`
LEFT JOIN part4 AS p4
  ON p4.`_row` = s.`_row`
LEFT JOIN part5 AS p5
  ON p5.`_row` = s.`_row`
LEFT JOIN part6 AS p6
  ON p6.`_row` = s.`_row`
LEFT JOIN part7 AS p7
  ON p7.`_row` = s.`_row`
LEFT JOIN part8 AS p8
  ON p8.`_row` = s.`_row`
LEFT JOIN part9 AS p9
  ON p9.`_row` = s.`_row`
LEFT JOIN part10 AS p10
  ON p10.`_row` = s.`_row`
LEFT JOIN part11 AS p11
  ON p11.`_row` = s.`_row`;
