-- Finding users: by words, by place, and by what lists are filtered by. Derived from the rows of `users`.

CREATE TABLE user_words (
    user_id TEXT COLLATE "C" NOT NULL,
    word TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (user_id, word)
);
-- user_words_word_idx: whom a word, or the start of one, finds.
CREATE INDEX user_words_word_idx ON user_words (word, user_id);
COMMENT ON TABLE user_words IS 'What an account is found by: its username, address, number and the words of its name, folded.';
COMMENT ON COLUMN user_words.user_id IS 'The account.';
COMMENT ON COLUMN user_words.word IS 'NFKC, lower case; a word of a name has at most 32 characters.';

CREATE TABLE user_places (
    user_id TEXT COLLATE "C" NOT NULL,
    cell BIGINT NOT NULL,
    x DOUBLE PRECISION,
    y DOUBLE PRECISION,
    z DOUBLE PRECISION,
    PRIMARY KEY (user_id, cell)
);
-- user_places_cell_idx: who is in a part of the globe, and how far away, without a look at the table.
CREATE INDEX user_places_cell_idx ON user_places (cell, user_id, x, y, z);
COMMENT ON TABLE user_places IS 'Where discoverable accounts in use are: one row for a position, a few for the land in a boundary.';
COMMENT ON COLUMN user_places.user_id IS 'The account.';
COMMENT ON COLUMN user_places.cell IS 'Of a position: its cell of the globe in space, 0 or more. Of land: a square of longitudes and latitudes that some of it lies in, below 0.';
COMMENT ON COLUMN user_places.x IS 'Of a position: its point on the unit sphere, towards 0° north 0° east.';
COMMENT ON COLUMN user_places.y IS 'Of a position: its point on the unit sphere, towards 0° north 90° east.';
COMMENT ON COLUMN user_places.z IS 'Of a position: its point on the unit sphere, towards the north pole.';

-- These served a search that read the table of users itself.
DROP INDEX users_email_idx;
DROP INDEX users_phone_idx;
DROP INDEX users_domain_idx;
-- users_domain_idx: the accounts of a domain.
CREATE INDEX users_domain_idx ON users (email_domain, id);
-- users_status_idx: how many have a status, and who, while those are few.
CREATE INDEX users_status_idx ON users (status, id);
-- users_verified_idx: the same for verified addresses.
CREATE INDEX users_verified_idx ON users (email_verified, id);
-- users_country_idx: the same for countries.
CREATE INDEX users_country_idx ON users (country, id);
-- users_roles_idx: the few who have any role.
CREATE INDEX users_roles_idx ON users (id) WHERE roles <> '[]';
