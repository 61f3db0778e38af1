/*
 * event_store.c
 *		The door: module magic and _PG_init.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/extension.h"
#include "base/shared.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "base/xact.h"
#include "deliver/delivery.h"
#include "deliver/event_handler.h"
#include "deliver/handler_task.h"
#include "log/admit.h"
#include "log/horizon.h"
#include "log/hot.h"
#include "log/meter.h"
#include "log/slot.h"
#include "log/stream.h"
#include "log/wake.h"
#include "model/upcast.h"
#include "observe/counters.h"
#include "observe/exemplar.h"
#include "observe/handler.h"
#include "observe/keep.h"
#include "observe/problem.h"
#include "observe/series.h"
#include "runtime/board.h"
#include "runtime/child_table.h"
#include "runtime/endpoint.h"
#include "runtime/launcher.h"
#include "runtime/names.h"
#include "runtime/pool.h"
#include "runtime/schedule.h"
#include "runtime/session.h"
#include "runtime/task.h"
#include "runtime/tidy.h"
#include "runtime/upkeep.h"
#include "runtime/vacate.h"
#include "store/tenant.h"

ES_MODULE_MAGIC("event_store");

void
_PG_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		ereport(ERROR,
				(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, NULL,
							"event_store must be loaded when the server starts"),
				 errhint("Write shared_preload_libraries = 'event_store' into postgresql.conf and restart the server.")));

	EsSettingsInit();
	EsShmemInit();
	EsXactInit();
	EsSharedInit();
	EsProblemLogInit();
	EsCountersInit();
	EsExemplarInit();
	EsSeriesInit();
	EsKeepInit();
	EsPendingInit();
	EsHandlerInit();
	EsTenantGuardInit();
	EsSlotInit();
	EsAdmitInit();				/* before EsHorizonInit: while it settles, the transaction still has its positions */
	EsHorizonInit();
	EsHotInit();
	EsMeterInit();
	EsWakeInit();
	EsStreamInit();
	EsUpcastInit();
	EsBoardInit();
	EsPoolInit();
	EsLauncherInit();
	EsVacateInit();
	EsTaskInit();
	EsScheduleInit();
	EsUpkeepInit();
	EsTidyInit();
	EsEndpointInit();
	EsDeliveryInit();
	EsHandlerInlineInit();
	EsHandlerTaskInit();
	EsHandlerWaitInit();
	EsNamesInit();
	EsSessionInit();
	EsChildTableInit();
}
