"""The store's tables, version by version; a store that is opened is brought to the latest.

Plain statements for both databases, each version in one transaction. Alembic would describe the
same tables a second time in SQLAlchemy's types, and importing it takes the start of a service
longer (2.7 s of processor time) than all statements together (5 ms).
"""

from __future__ import annotations

VERSIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE IF NOT EXISTS leads (lead_id {id} NOT NULL, created_at BIGINT NOT NULL, "
        "account_id {id}, attributes TEXT NOT NULL, PRIMARY KEY (lead_id)) {clustered}",
        "CREATE TABLE IF NOT EXISTS events (lead_id {id} NOT NULL, event_id {id} NOT NULL, "
        "kind TEXT NOT NULL, occurred_at BIGINT NOT NULL, known_at BIGINT NOT NULL, channel TEXT, "
        "campaign TEXT, value DOUBLE PRECISION, properties TEXT NOT NULL, "
        "PRIMARY KEY (lead_id, event_id)) {clustered}",
        "CREATE TABLE IF NOT EXISTS changes (lead_id {id} NOT NULL, change_id {id} NOT NULL, "
        "field TEXT NOT NULL, value TEXT, known_at BIGINT NOT NULL, "
        "PRIMARY KEY (lead_id, change_id)) {clustered}",
        "CREATE TABLE IF NOT EXISTS outcomes (lead_id {id} NOT NULL, outcome {id} NOT NULL, "
        "occurred_at BIGINT NOT NULL, known_at BIGINT NOT NULL, deal_value DOUBLE PRECISION, "
        "reason TEXT, PRIMARY KEY (lead_id, outcome)) {clustered}",
        "CREATE INDEX IF NOT EXISTS accounts ON leads (account_id)",
    ),
    (
        "CREATE TABLE dead_letters (letter_id {id} NOT NULL, received_at BIGINT NOT NULL, "
        "kind TEXT NOT NULL, lead_id {id}, content TEXT NOT NULL, problem TEXT NOT NULL, "
        "PRIMARY KEY (letter_id)) {clustered}",
        "CREATE INDEX dead_letters_in_turn ON dead_letters (received_at, letter_id)",
        "CREATE INDEX dead_letters_of_lead ON dead_letters (lead_id)",
    ),
    (
        "CREATE TABLE scores (lead_id {id} NOT NULL, answered_at BIGINT NOT NULL, "
        "score_id {id} NOT NULL, as_of BIGINT NOT NULL, model_version TEXT NOT NULL, "
        "fingerprint TEXT NOT NULL, probability DOUBLE PRECISION NOT NULL, "
        "expected_value DOUBLE PRECISION, grade TEXT NOT NULL, route TEXT NOT NULL, "
        "request_id TEXT NOT NULL, PRIMARY KEY (lead_id, answered_at, score_id)) {clustered}",
    ),
    (
        "CREATE TABLE consents (lead_id {id} NOT NULL, purpose {id} NOT NULL, at BIGINT NOT NULL, "
        "given BIGINT NOT NULL, source TEXT, PRIMARY KEY (lead_id, purpose, at)) {clustered}",
        "CREATE TABLE decisions (lead_id {id} NOT NULL, decision_id {id} NOT NULL, "
        "decided_at BIGINT NOT NULL, route TEXT NOT NULL, reason TEXT NOT NULL, decided_by TEXT, "
        "advised TEXT, PRIMARY KEY (lead_id, decision_id)) {clustered}",
        "CREATE TABLE erasures (erasure_id {id} NOT NULL, erased_at BIGINT NOT NULL, "
        "key_id TEXT, facts BIGINT NOT NULL, PRIMARY KEY (erasure_id)) {clustered}",
    ),
    (
        "CREATE TABLE current_scores (lead_id {id} NOT NULL, as_of BIGINT NOT NULL, "
        "model_version TEXT NOT NULL, worth DOUBLE PRECISION NOT NULL, "
        "probability DOUBLE PRECISION NOT NULL, value DOUBLE PRECISION, "
        "value_low DOUBLE PRECISION, value_high DOUBLE PRECISION, "
        "expected_value DOUBLE PRECISION, expected_low DOUBLE PRECISION, "
        "expected_high DOUBLE PRECISION, grade TEXT NOT NULL, route TEXT NOT NULL, "
        "reasons TEXT NOT NULL, PRIMARY KEY (lead_id)) {clustered}",
        "CREATE INDEX current_scores_ranked ON current_scores (worth DESC, lead_id)",
    ),
    (
        "CREATE TABLE repeats (repeat_id {id} NOT NULL, answered_at BIGINT NOT NULL, "
        "body_digest TEXT NOT NULL, answer TEXT NOT NULL, PRIMARY KEY (repeat_id)) {clustered}",
        "CREATE INDEX repeats_in_turn ON repeats (answered_at)",
    ),
    ("ALTER TABLE current_scores ADD COLUMN routed_by TEXT",),
)
