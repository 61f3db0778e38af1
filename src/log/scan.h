/*
 * scan.h
 *		Reading the rows of event_log, directly or through SQL.
 */
#ifndef ES_SCAN_H
#define ES_SCAN_H

#include "access/genam.h"
#include "access/stratnum.h"
#include "utils/portal.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

#include "store/store.h"

/* A scan in progress; the members are private to scan.c. */
typedef struct EsScan
{
	bool		backward;

	/* direct */
	Relation	index;			/* if opened by the scan */
	IndexScanDesc desc;
	TupleTableSlot *slot;

	/* through SQL */
	Portal		portal;
	SPITupleTable *batch;
	uint64		batch_size;
	uint64		batch_next;
	Datum		values[LOG_NCOLUMNS];
	bool		nulls[LOG_NCOLUMNS];
} EsScan;

extern void es_scan_stream(EsScan *scan, EsStore *store, Relation log, int64 stream_id,
						   int64 low, int64 high, bool backward, Snapshot snapshot);
extern void es_scan_log(EsScan *scan, EsStore *store, Relation log,
						int64 low, int64 high, bool backward, Snapshot snapshot);
extern void es_scan_log_at(EsScan *scan, EsStore *store, Relation log, int64 position, Snapshot snapshot);
extern void es_scan_event_id(EsScan *scan, EsStore *store, Relation log,
							 const pg_uuid_t *id, Snapshot snapshot);
extern void es_scan_key(EsScan *scan, Relation log, Oid index, RegProcedure equal, Oid collation, Datum key,
						int64 low, int64 high, bool backward, Snapshot snapshot);
extern void es_scan_column(EsScan *scan, Relation log, Oid index, StrategyNumber strategy, RegProcedure compare,
						   Oid collation, Datum key, Snapshot snapshot);
extern bool es_scan_next(EsScan *scan, Datum **values, bool **nulls);
extern TransactionId es_scan_xmin(const EsScan *scan);
extern void es_scan_end(EsScan *scan);

extern int64 es_scan_version(EsStore *store, Relation log, int64 stream_id, Snapshot snapshot);
extern void es_scan_true_stream(EsScan *scan, EsStore *store, Relation log, int64 stream_id,
								int64 low, Snapshot snapshot);
extern int64 es_scan_true_version(EsStore *store, Relation log, int64 stream_id, Snapshot snapshot);
extern int64 es_scan_latest_version(EsStore *store, Relation log, Relation by_version,
									int64 stream_id, int64 at_least, bool *own);
extern int64 es_scan_last_position(EsStore *store);

#endif							/* ES_SCAN_H */
