-- Where in the log the rule of a domain stands, which later events of its stream leave where it is.
-- A version before this one that still runs beside it makes rules without; `rebuild` tells and mends them.

-- Position of the event that allowed or blocked it; 0 while it is merely observed.
ALTER TABLE domains ADD COLUMN rule_position INTEGER NOT NULL DEFAULT 0;

UPDATE domains SET rule_position = (
    SELECT coalesce(max(e.position), 0)
    FROM events AS e
    WHERE e.aggregate_type = 'domain'
      AND e.aggregate_id = domains.name
      AND e.event_type IN ('domain.allowed', 'domain.blocked')
)
WHERE standing <> 'observed';
