# The larger run of the demo (LARGE=1): $SHARED/data/bpic2012.xes.gz, the log of a bank's loan applications, is imported and folded,
# and the states compared with what a query over the log's lines says. Run by run.sh, which has the server and the functions.
# shellcheck shell=bash

sql -c "CREATE UNLOGGED TABLE replay.loan_line (line bigint GENERATED ALWAYS AS IDENTITY, application text, amount numeric,
	activity text, transition text, resource text, at timestamptz)"
gzip -dc "$loans" | perl "$here/xes.pl" |
	sql -c "COPY replay.loan_line (application, amount, activity, transition, resource, at) FROM STDIN"
sql -f - <"$here/loans.sql"
IFS='|' read -r events streams <<<"$(sql -c "SELECT count(*), count(DISTINCT stream) FROM replay.loan_event")"
cat <<END

13. A larger log
   $(number "$events") events of $(number "$streams") loan applications at a Dutch bank (BPI Challenge 2012), in a store of their own. A history
   that lies in a table comes in with one call, with its times and its order:

END
import=("SELECT event_store.create_store('bank')" "SET search_path = bank, public" "CALL event_store.import_events('replay.loan_event')")
say "${import[@]}"
start=$EPOCHREALTIME
sql "${import[@]/#/-c}" >/dev/null
cat <<END

   That took $(seconds_since "$start") seconds, $(rate "$events" "$start") events a second.

   What an application is: its amount, its status, the offers sent, the time that somebody worked on it.

END
cat >"$work/apply.sql" <<'END'
CREATE TYPE bank.application AS (amount numeric, status text, offers int, worked interval, working_since timestamptz);
CREATE FUNCTION bank.apply_application(state bank.application, event event_store.recorded_event) RETURNS bank.application
STABLE LANGUAGE plpgsql AS $$
BEGIN
  IF event.data ? 'amount' THEN
    state.amount := event.data -> 'amount';
  END IF;
  IF event.type LIKE 'A%' THEN
    state.status := event.type;
  ELSIF event.type = 'O_SENT' THEN
    state.offers := state.offers + 1;
  ELSIF event.type LIKE 'W%' AND event.data ->> 'transition' = 'START' THEN
    state.working_since := event.created_at;
  ELSIF event.type LIKE 'W%' AND event.data ->> 'transition' = 'COMPLETE' THEN
    state.worked := state.worked + coalesce(event.created_at - state.working_since, '0');
    state.working_since := NULL;
  END IF;
  RETURN state;
END $$;
SELECT event_store.register_aggregate('application', apply => 'bank.apply_application', initial => '(,,0,0,)');
END
sed 's/^/     /' "$work/apply.sql"
sql -c "SET search_path = bank, public" -f - <"$work/apply.sql" >/dev/null
fold="CREATE UNLOGGED TABLE replay.loan_state AS
  SELECT * FROM event_store.list_aggregates('application', max_count => NULL)"
say "$fold"
start=$EPOCHREALTIME
sql -c "SET search_path = bank, public" -c "$fold"
folded=$(seconds_since "$start")
show bank "SELECT state ->> 'status' AS status, count(*) AS applications, round(avg((state ->> 'amount')::numeric)) AS amount,
    avg((state ->> 'offers')::numeric)::numeric(4, 2) AS offers, date_trunc('minute', avg((state ->> 'worked')::interval)) AS worked
  FROM replay.loan_state GROUP BY 1 ORDER BY 2 DESC LIMIT 5"
IFS='|' read -r applications right <<<"$(sql -f - <"$here/loans_check.sql")"
[[ $applications == "$streams" && $right == "$applications" ]] || fail "$right of $applications states are what the log says"
cat <<END

   All folded in $folded seconds, by one session. Each of the $(number "$applications") states is what a query over the lines of the log says.
END
