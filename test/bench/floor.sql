-- The floor: the same row in a table with nothing but the two indexes that an event log cannot do without. It knows no
-- expected version except through its primary key, no stream names, no order that readers may trust. payload is the type of data.
\if :{?payload} \else
\set payload jsonb
\endif
CREATE SCHEMA IF NOT EXISTS floor;
DROP TABLE IF EXISTS floor.:table;
CREATE TABLE floor.:table (
	stream_id bigint NOT NULL,
	version bigint NOT NULL,
	position bigserial NOT NULL,
	event_id uuid NOT NULL,
	event_type text COLLATE "C" NOT NULL,
	data :payload NOT NULL,
	metadata jsonb,
	created_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (stream_id, version),
	UNIQUE (position)
);
