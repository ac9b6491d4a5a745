-- Where in the log the rule of a domain stands, which later events of its stream leave where it is.
-- A version before this one that still runs beside it makes rules without; `rebuild` tells and mends them.

ALTER TABLE domains ADD COLUMN rule_position BIGINT NOT NULL DEFAULT 0;
COMMENT ON COLUMN domains.rule_position IS
    'Position of the event that allowed or blocked it; 0 while it is merely observed.';

UPDATE domains SET rule_position = (
    SELECT coalesce(max(e.position), 0)
    FROM events AS e
    WHERE e.aggregate_type = 'domain'
      AND e.aggregate_id = domains.name
      AND e.event_type IN ('domain.allowed', 'domain.blocked')
)
WHERE standing <> 'observed';
