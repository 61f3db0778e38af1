-- Errors as values, for the files that include this with \ir.
SET client_min_messages = error;

-- what a command ends with: its SQLSTATE (00000 if it succeeds), message, problem document and hint
CREATE FUNCTION pg_temp.problem(command text, OUT state text, OUT message text, OUT document jsonb, OUT hint text)
LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	EXECUTE command;
	state := '00000';
EXCEPTION WHEN OTHERS OR assert_failure OR query_canceled THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	IF detail LIKE '{%' THEN
		document := detail;
	END IF;
END $$;

CREATE FUNCTION pg_temp.state(command text) RETURNS text LANGUAGE sql AS $$
	SELECT state FROM pg_temp.problem(command)
$$;

-- the same as another role, and undone even if it succeeds
CREATE FUNCTION pg_temp.state_as(role text, command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	state text := '00000';
BEGIN
	BEGIN
		PERFORM set_config('role', role, true);
		EXECUTE command;
		RAISE EXCEPTION 'undo' USING ERRCODE = 'TEST1';
	EXCEPTION
		WHEN SQLSTATE 'TEST1' THEN NULL;
		WHEN OTHERS THEN state := SQLSTATE;
	END;
	RETURN state;
END $$;
