-- The table of cases of step 10, and the projection that keeps it.
CREATE TABLE cases (stream text PRIMARY KEY, steps int, last_step text);
CREATE FUNCTION keep_case(event event_store.recorded_event) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO cases VALUES (event.stream, 1, event.type)
  ON CONFLICT (stream) DO UPDATE SET steps = cases.steps + 1, last_step = excluded.last_step;
END $$;
SELECT event_store.register_projection('cases', tables => '{cases}', function => 'keep_case');
