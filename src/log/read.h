/*
 * read.h
 *		Events as they are given back.
 */
#ifndef ES_READ_H
#define ES_READ_H

/* Fields of the type recorded_event. */
enum EsRecordedField
{
	RECORDED_POSITION,
	RECORDED_STREAM,
	RECORDED_VERSION,
	RECORDED_EVENT_ID,
	RECORDED_TYPE,
	RECORDED_DATA,
	RECORDED_METADATA,
	RECORDED_CORRELATION_ID,
	RECORDED_CAUSATION_ID,
	RECORDED_CREATED_AT,
	RECORDED_NFIELDS
};

extern void es_recorded_event(text *stream, const Datum *row, const bool *row_nulls, Datum *values, bool *nulls);

#endif							/* ES_READ_H */
