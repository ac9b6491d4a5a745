-- Words carry what lists are sorted by, so that whom a word finds is brought into order without a look at the accounts.
-- A version before this one that still runs beside it writes its words without; `rebuild` tells and mends them.

ALTER TABLE user_words ADD COLUMN created_at BIGINT NOT NULL DEFAULT 0;
COMMENT ON COLUMN user_words.created_at IS 'When the account was made, microseconds since 1970, as in its row.';

ALTER TABLE user_words ADD COLUMN username TEXT COLLATE "C" NOT NULL DEFAULT '';
COMMENT ON COLUMN user_words.username IS 'The account''s username in lower case, by which lists are sorted; empty if it has none.';

-- Made anew below: an index would be kept up for each row that is filled in.
DROP INDEX user_words_word_idx;
UPDATE user_words SET created_at = u.created_at, username = coalesce(lower(u.username), '')
FROM users AS u
WHERE u.id = user_words.user_id;
-- user_words_word_idx: whom a word, or the start of one, finds, with what they are sorted by.
CREATE INDEX user_words_word_idx ON user_words (word, user_id, created_at, username);
