/*
 * scavenge.h
 *		Taking away for good what the limits of streams hide.
 */
#ifndef ES_SCAVENGE_H
#define ES_SCAVENGE_H

extern bool es_scavenge_step(int64 *after, int64 batch_size);

#endif							/* ES_SCAVENGE_H */
