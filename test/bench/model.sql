-- What is folded by model.sh: streams of 100, 1,000 and 10,000 events, and as many streams of 10 as there are dispatches to them.
SET client_min_messages = warning;
SELECT event_store.create_store('folded');
SET search_path = folded, public;
CREATE TYPE public.sale AS (total numeric, lines bigint);
CREATE FUNCTION public.fold_c(state bigint, data jsonb) RETURNS bigint IMMUTABLE LANGUAGE internal AS 'int8inc_any';
CREATE FUNCTION public.fold_sql(state numeric, data jsonb) RETURNS numeric IMMUTABLE LANGUAGE sql RETURN state + (data -> 'total')::numeric;
CREATE FUNCTION public.fold_plpgsql(state numeric, data jsonb) RETURNS numeric IMMUTABLE LANGUAGE plpgsql AS
$$ BEGIN RETURN state + (data -> 'total')::numeric; END $$;
CREATE FUNCTION public.fold_sql_jsonb(state jsonb, data jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql
RETURN state || jsonb_build_object('total', (state -> 'total')::numeric + (data -> 'total')::numeric, 'last', data -> 'status');
CREATE FUNCTION public.fold_plpgsql_row(state sale, data jsonb) RETURNS sale IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
	state.total := state.total + (data -> 'total')::numeric;
	state.lines := state.lines + 1;
	RETURN state;
END $$;
SELECT event_store.register_aggregate(name, initial => initial, prefix => 's-', apply_by_type => jsonb_build_object('OrderPlaced', 'public.fold_' || name))
FROM (VALUES ('c', '0'), ('sql', '0'), ('plpgsql', '0'), ('sql_jsonb', '{"total": 0}'), ('plpgsql_row', '(0,0)')) a (name, initial);
SELECT count(event_store.append('s-' || n, :'events'::text, 'any')) FROM (VALUES (100), (1000), (10000)) s (n), generate_series(1, n / 10) i;

CREATE FUNCTION public.place(state numeric, command jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql
RETURN jsonb_build_object('type', 'OrderPlaced', 'data', command -> 'data');
SELECT event_store.register_command('Place', 'sql', 'public.place');
SELECT count(event_store.append('s-d' || i, :'events'::text, 'no_stream')) FROM generate_series(1, 4000) i;
VACUUM ANALYZE;
