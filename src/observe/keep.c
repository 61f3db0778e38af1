/*
 * keep.c
 *		Counts over a clean restart of the server.
 *
 * The postmaster writes them into a file when the server is shut down, and
 * reads and removes it at the next start.  An immediate stop writes none: what
 * was counted then may be of transactions that are lost.  So a crash finds no
 * file and begins at zero, which telemetry_info().started_at and the gauge
 * telemetry_start_time_seconds tell.  A server that starts as a standby does
 * not take over what the file of a copy says: that was counted elsewhere.
 */
#include "postgres.h"

#include <sys/stat.h>
#include <unistd.h>

#include "access/xlog.h"
#include "catalog/pg_control.h"
#include "common/controldata_utils.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/ipc.h"

#include "base/shmem.h"
#include "observe/keep.h"
#include "observe/series.h"

#define KEPT_FILE		"pg_stat/event_store.telemetry"
#define KEPT_MAGIC		0x45532001

typedef struct KeptHeader
{
	uint32		magic;
	uint32		layout;			/* of what follows */
	uint64		system;
} KeptHeader;

/* A number that changes with the list of metrics and the structures. */
static uint32
layout(void)
{
	static const char list[] =
#define ES_COUNTER(id, name, unit, dim, ...)		name "/" #dim ";"
#define ES_HISTOGRAM(id, name, unit, dim, ...)		name "/" #dim ";"
#define ES_STORE_COUNTER(id, name, unit, dim, ...)	name "/" #dim ";"
#define ES_GAUGE(id, name, ...)						name ";"
#include "observe/metrics.def"
#undef ES_COUNTER
#undef ES_HISTOGRAM
#undef ES_STORE_COUNTER
#undef ES_GAUGE
	;

	return hash_bytes((const unsigned char *) list, sizeof(list)) ^
		(sizeof(EsSharedFamily) << 16) ^ sizeof(EsTotals);
}

static bool
starts_as_standby(void)
{
	struct stat st;

	return stat(STANDBY_SIGNAL_FILE, &st) == 0 || stat(RECOVERY_SIGNAL_FILE, &st) == 0;
}

/* Runs in the postmaster, once the shared memory of counters and series is there. */
static void
load(void)
{
	KeptHeader	header;
	FILE	   *file = AllocateFile(KEPT_FILE, PG_BINARY_R);

	if (file == NULL)
		return;
	if (fread(&header, sizeof(header), 1, file) == 1 && header.magic == KEPT_MAGIC &&
		header.layout == layout() && header.system == GetSystemIdentifier() && !starts_as_standby() &&
		!(es_counters_load(file) && es_series_load(file)))
		ereport(LOG,
				(errmsg("file \"%s\" is damaged", KEPT_FILE),
				 errdetail("Some metrics of event stores begin at zero.")));
	FreeFile(file);
	(void) durable_unlink(KEPT_FILE, LOG);
}

/* Has the server been shut down, and not just ended? */
static bool
is_clean_shutdown(void)
{
	bool		crc_ok;
	ControlFileData *control = get_controlfile(DataDir, &crc_ok);

	return crc_ok && (control->state == DB_SHUTDOWNED || control->state == DB_SHUTDOWNED_IN_RECOVERY);
}

/* Runs in the postmaster, as the last process. */
static void
save(int code, Datum argument)
{
	KeptHeader	header = {.magic = KEPT_MAGIC};
	FILE	   *file;
	bool		failed;

	if (code != 0 || !is_clean_shutdown())
		return;
	header.layout = layout();
	header.system = GetSystemIdentifier();
	file = AllocateFile(KEPT_FILE ".tmp", PG_BINARY_W);
	failed = file == NULL || fwrite(&header, sizeof(header), 1, file) != 1 ||
		!es_counters_save(file) || !es_series_save(file);
	if (file != NULL && FreeFile(file) != 0)
		failed = true;
	if (failed || durable_rename(KEPT_FILE ".tmp", KEPT_FILE, LOG) != 0)
	{
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", KEPT_FILE),
				 errdetail("The metrics of event stores will begin at zero.")));
		unlink(KEPT_FILE ".tmp");
	}
}

static Size
no_size(void)
{
	return 0;
}

static void
attach(void)
{
	if (IsUnderPostmaster)
		return;
	on_shmem_exit(save, (Datum) 0);
	load();
}

/* After the modules whose counts it keeps. */
void
EsKeepInit(void)
{
	static const EsShmemPart part = {no_size, attach};

	es_shmem_register(&part);
}
