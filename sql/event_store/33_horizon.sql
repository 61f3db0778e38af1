/* order: how far readers may go, and who holds them back */

CREATE FUNCTION event_store.horizon()
RETURNS bigint
AS 'MODULE_PATHNAME', 'event_store_horizon'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION event_store.horizon()
IS 'the lowest position that may still be committed: everything below it is final. To read, use read_all, which takes the horizon and its snapshot in the right order';

CREATE FUNCTION event_store.head()
RETURNS bigint
AS 'MODULE_PATHNAME', 'event_store_head'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.head()
IS 'the position of the last event that read_all returns now, 0 if there is none';

CREATE FUNCTION event_store.durable_mark()
RETURNS bigint
AS 'MODULE_PATHNAME', 'event_store_durable_mark'
LANGUAGE C STRICT STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION event_store.durable_mark()
IS 'the position up to which snapshots, standbys and copies may read in order: the horizon as a table row';

CREATE FUNCTION event_store.in_flight(
	OUT schema text, OUT first_position bigint, OUT pid integer, OUT role text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_in_flight'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION event_store.in_flight()
IS 'the transactions of this database that have appended and not ended yet: readers in order wait for them; pg_stat_activity tells more by pid';

CREATE FUNCTION event_store.token(after_position bigint)
RETURNS text
AS 'MODULE_PATHNAME', 'event_store_token'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.token(bigint)
IS 'the token of a position that was read: the position with the server and the history it was read from';

CREATE FUNCTION event_store.token_position(token text)
RETURNS bigint
AS 'MODULE_PATHNAME', 'event_store_token_position'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.token_position(text)
IS 'the position of a token, to read on after; an error if events up to it may have been lost since, as after a failover';

REVOKE ALL ON FUNCTION
	event_store.horizon(),
	event_store.head(),
	event_store.durable_mark(),
	event_store.in_flight(),
	event_store.token(bigint),
	event_store.token_position(text)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	event_store.horizon(),
	event_store.head(),
	event_store.durable_mark(),
	event_store.token(bigint),
	event_store.token_position(text)
TO PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.in_flight() TO pg_monitor;
