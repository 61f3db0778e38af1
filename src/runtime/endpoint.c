/*
 * endpoint.c
 *		What the metrics endpoint, a library of its own, gets to see.
 *
 * The two libraries meet in a rendezvous variable: it is set only if this one
 * was loaded first, and no symbol has to be exported or found by a path.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "fmgr.h"

#include "base/extension.h"
#include "log/wake.h"
#include "observe/collect.h"
#include "observe/counters.h"
#include "runtime/endpoint.h"

/* How long readers of some store have been held back, in seconds. */
static double
horizon_age(void)
{
	double		age = 0;
	int			count;
	EsFamily   *families = es_metrics_collect(&count);

	for (int i = 0; i < count; i++)
		if (strcmp(families[i].name, "event_store_horizon_age_seconds") == 0)
			for (int k = 0; k < families[i].nsamples; k++)
				age = Max(age, families[i].samples[k].value);
	return age;
}

/*
 * Append what is to be known of this server, a "name: value" a line; is it as
 * it should be?  A standby has no launcher.  A transaction left open is for
 * alerts: the server does its work.
 */
static bool
ready(StringInfo report)
{
	bool		standby = RecoveryInProgress();
	bool		launcher = es_wake_launcher_runs();

	appendStringInfo(report, "role: %s\n", standby ? "standby" : "primary");
	if (!standby)
		appendStringInfo(report, "launcher: %s\n", launcher ? "runs" : "does not run");
	appendStringInfo(report, "readers held back: %.1f s\n", horizon_age());
	return standby || launcher;
}

static void
answered(int code)
{
	static const int codes[ES_DIM_CODE_SIZE] = {200, 401, 404, 405, 431, 500, 503};

	for (int i = 0; i < lengthof(codes); i++)
		if (codes[i] == code)
			es_count(ES_ENDPOINT_REQUESTS + i, 1);
}

static void
scraped(double seconds)
{
	es_observe(ES_SCRAPE_DURATION, ES_SCRAPE_DURATION_LOWEST, seconds);
}

void
EsEndpointInit(void)
{
	static const EsEndpoint endpoint = {ES_VERSION, es_prometheus_text, ready, answered, scraped};

	*find_rendezvous_variable(ES_ENDPOINT_VARIABLE) = unconstify(EsEndpoint *, &endpoint);
}
