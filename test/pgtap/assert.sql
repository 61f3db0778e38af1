-- The assertions of event_store among those of pgTAP: they are numbered and counted by its plan.
BEGIN;
SELECT plan(12);
SELECT event_store.create_store('bank');
SET LOCAL search_path = bank, public;
CREATE FUNCTION pg_temp.apply_account(state numeric, type text, data jsonb) RETURNS numeric IMMUTABLE LANGUAGE sql
RETURN state + (data -> 'amount')::numeric;
CREATE FUNCTION pg_temp.deposit(state numeric, command jsonb) RETURNS jsonb STABLE LANGUAGE plpgsql AS $$
BEGIN
	IF state + (command -> 'amount')::numeric > 100 THEN
		PERFORM event_store.reject('too_rich');
	END IF;
	RETURN jsonb_build_object('type', 'Deposited', 'data', command - 'id');
END $$;
DO $$ BEGIN
	PERFORM event_store.register_aggregate('account', 'pg_temp.apply_account', '0');
	PERFORM event_store.register_command('Deposit', 'account', 'pg_temp.deposit');
END $$;

SELECT event_store.assert_command('account-1', '[{"type": "Deposited", "data": {"amount": 90}}]', 'Deposit', '{"id": "1", "amount": 10}',
	'{"type": "Deposited", "data": {"amount": 10}}');
SELECT event_store.assert_command('account-1', '[{"type": "Deposited", "data": {"amount": 95}}]', 'Deposit', '{"id": "1", "amount": 10}',
	rejected => 'too_rich');
SELECT event_store.refute_event('Deposited');
SELECT is(event_store.stream_version('account-1'), 0::bigint, 'what an assertion did is undone');
DO $$ BEGIN PERFORM event_store.dispatch('Deposit', '{"id": "1", "amount": 10}'); END $$;
SELECT event_store.assert_event('Deposited', '{"amount": 10}', 'account-1');
SELECT event_store.assert_correlated('Deposited', 'Deposited');
SELECT event_store.wait_for_event('Deposited');
SELECT is(event_store.aggregate_state('account', '1'), '10', 'the state agrees');

-- one that fails is a failure of the plan, with the reason below it; here it is to
SELECT todo('nobody has withdrawn anything', 1);
SELECT event_store.assert_event('Withdrawn', description => 'money is gone') AS lines \gset
\echo :lines
SELECT is(num_failed(), 0, 'a failed assertion is one of pgTAP, which knows what is to do');
SELECT matches(:'lines'::text, '^not ok 9 - money is gone # TODO', 'it is numbered');
SELECT matches(:'lines'::text, 'want: an event "Withdrawn"\n# +have: none$', 'and explained');

SELECT * FROM finish();
ROLLBACK;
