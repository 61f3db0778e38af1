/* assertions on events and commands, as lines of TAP; with pgTAP they are tested by test/pgtap/assert.sql */
\set SHOW_CONTEXT never
\pset format unaligned
\pset tuples_only on
SELECT event_store.create_store('asserts');
SET search_path = asserts, public;
CREATE FUNCTION apply_account(state numeric, type text, data jsonb) RETURNS numeric IMMUTABLE LANGUAGE sql
RETURN state + CASE type WHEN 'Deposited' THEN 1 ELSE -1 END * (data -> 'amount')::numeric;
CREATE FUNCTION withdraw(state numeric, command jsonb) RETURNS jsonb STABLE LANGUAGE plpgsql AS $$
BEGIN
	IF state < (command -> 'amount')::numeric THEN
		PERFORM event_store.reject('overdrawn', 'not enough money');
	END IF;
	RETURN CASE WHEN command ->> 'amount' <> '0' THEN
		jsonb_build_object('type', 'Withdrawn', 'data', jsonb_build_object('amount', command -> 'amount', 'rest', state - (command -> 'amount')::numeric)) END;
END $$;
SELECT event_store.register_aggregate('account', 'apply_account', '0');
SELECT event_store.register_command('Withdraw', 'account', 'withdraw');

-- given, when, then
SELECT event_store.assert_command('account-1', '[{"type": "Deposited", "data": {"amount": 10}}]', 'Withdraw', '{"id": "1", "amount": 4}',
	'{"type": "Withdrawn", "data": {"amount": 4}}');
SELECT event_store.assert_command('account-1', '[{"type": "Deposited", "data": {"amount": 10}}]', 'Withdraw', '{"id": "1", "amount": 4}',
	'[{"type": "Withdrawn", "data": {"amount": 4, "rest": 6}}]', description => 'the rest is told');
SELECT event_store.assert_command('account-1', NULL, 'Withdraw', '{"id": "1", "amount": 4}', rejected => 'overdrawn');
SELECT event_store.assert_command('account-1', '[]', 'Withdraw', '{"id": "1", "amount": 4}', rejected => 'VE012');
SELECT event_store.assert_command('account-1', '[]', 'Withdraw', '{"id": "1", "amount": 0}', '[]', description => 'nothing # and
	a line');
SELECT event_store.assert_command('account-1', '[]', 'Withdraw', '{}', rejected => 'VE011');
-- and what is not so
SELECT event_store.assert_command('account-1', '[]', 'Withdraw', '{"id": "1", "amount": 4}', '{"type": "Withdrawn"}');
SELECT event_store.assert_command('account-1', '{"type": "Deposited", "data": {"amount": 10}}', 'Withdraw', '{"id": "1", "amount": 4}', rejected => 'overdrawn');
SELECT event_store.assert_command('account-1', '{"type": "Deposited", "data": {"amount": 10}}', 'Withdraw', '{"id": "1", "amount": 4}', '[]');
SELECT event_store.assert_command('account-1', '{"type": "Deposited", "data": {"amount": 10}}', 'Withdraw', '{"id": "1", "amount": 4}',
	'[{"type": "Withdrawn"}, {"type": "Withdrawn"}]');
SELECT event_store.assert_command('account-1', '{"type": "Deposited", "data": {"amount": 10}}', 'Withdraw', '{"id": "1", "amount": 4}',
	'{"type": "Withdrawn", "data": {"amount": 5}}');
SELECT event_store.assert_command('account-2', '{"type": "Deposited", "data": {"amount": 10}}', 'Withdraw', '{"id": "1", "amount": 0}', '{"type": "Deposited"}');
SELECT event_store.assert_command('account-1', '[]', 'Withdraw', '{"id": "1", "amount": 4}', rejected => 'closed');
SELECT event_store.assert_command('account-1', '[]', 'Withdrew', '{}', '[]');
SELECT event_store.assert_command('account-1', '[{"type": "", "data": 1}]', 'Withdraw', '{"id": "1", "amount": 0}', '[]');
-- nothing of it stays
SELECT count(*) FROM event_log;
SELECT event_store.assert_command('account-1', '[]', 'Withdraw', '{}');
SELECT event_store.assert_command('account-1', '[]', 'Withdraw', '{}', '[]', 'overdrawn');
SELECT event_store.assert_command('account-1', '[]', 'Withdraw', '{}', '1');
SELECT event_store.assert_command(NULL, '[]', 'Withdraw', '{}', '[]');

-- events, those of the own transaction too
BEGIN;
SELECT event_store.append_event('account-1', 'Deposited', '{"amount": 10, "by": "ada"}', correlation_id => '00000000-0000-4000-8000-00000000000a') IS NOT NULL;
SELECT event_store.append_event('account-2', 'Withdrawn', '{"amount": 1}', correlation_id => '00000000-0000-4000-8000-00000000000a') IS NOT NULL;
SELECT event_store.append_event('account-2', 'Withdrawn', '{"amount": 2}') IS NOT NULL;
SELECT event_store.append_event('account-2', 'Closed', '1', correlation_id => '00000000-0000-4000-8000-00000000000b') IS NOT NULL;
SELECT event_store.assert_event('Deposited');
SELECT event_store.assert_event('Deposited', '{"by": "ada"}', 'account-1', description => 'Ada has paid');
SELECT event_store.assert_event('Deposited', '{"by": "bob"}');
SELECT event_store.assert_event('Deposited', stream => 'account-2');
SELECT event_store.assert_event('Deposited', after_position => 1000);
SELECT event_store.assert_event('Closed', '1');
SELECT event_store.refute_event('Deposited', '{"by": "bob"}');
SELECT event_store.refute_event('Deposited', stream => 'no such stream');
SELECT event_store.refute_event('Withdrawn', '{"amount": 2}');
SELECT event_store.wait_for_event('Withdrawn', '{"amount": 2}');
SELECT event_store.wait_for_event('Withdrawn', '{"amount": 3}', timeout => '0');
SELECT event_store.wait_for_event('Withdrawn', '{"amount": 3}', timeout => '10 ms', description => 'three');
SELECT event_store.assert_correlated('Deposited', 'Withdrawn');
SELECT event_store.assert_correlated('Deposited', 'Withdrawn', second_data => '{"amount": 2}');
SELECT event_store.assert_correlated('Deposited', 'Closed');
SELECT event_store.assert_correlated('Deposited', 'Nothing');
SELECT event_store.assert_correlated('Nothing', 'Closed');
SELECT event_store.assert_correlated('Nothing', 'None');
SELECT event_store.assert_correlated('Deposited', 'Withdrawn', after_position => 1000, description => 'not so');
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT event_store.assert_event('Deposited');
SELECT event_store.wait_for_event('Deposited');
ROLLBACK;
SELECT event_store.assert_event(NULL);
SELECT event_store.assert_event('A', stream => '');
SELECT event_store.wait_for_event('A', timeout => NULL);
SELECT event_store.assert_correlated('A', NULL);

-- in the form that readers get
CREATE FUNCTION cents(data jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql RETURN jsonb_build_object('cents', (data -> 'amount')::int * 100);
SELECT event_store.register_upcaster('Deposited', 'cents');
SELECT event_store.assert_event('Deposited', '{"cents": 1000}');
SELECT event_store.unregister_upcaster('Deposited');
SELECT event_store.unregister_command('Withdraw'), event_store.unregister_aggregate('account');
