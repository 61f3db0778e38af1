/*
 * endpoint.h
 *		What the library event_store_http gets from this one.
 */
#ifndef ES_ENDPOINT_H
#define ES_ENDPOINT_H

#include "lib/stringinfo.h"

#include "observe/prometheus.h"

/* Where the struct is found: a rendezvous variable. */
#define ES_ENDPOINT_VARIABLE	"event_store endpoint"

/* The functions touch shared memory only. */
typedef struct EsEndpoint
{
	const char *version;		/* ES_VERSION of the library that fills this in */
	char	   *(*metrics) (EsTextFormat format);	/* palloc'd, and a lot besides */
	bool		(*ready) (StringInfo report);	/* does everything run that should? */
	void		(*answered) (int code); /* a request, with this status code of HTTP */
	void		(*scraped) (double seconds);	/* all metrics were written down, which took so long */
} EsEndpoint;

extern void EsEndpointInit(void);

#endif							/* ES_ENDPOINT_H */
