/*
 * tidy.h
 *		A task that takes away what a store need not keep.
 */
#ifndef ES_TIDY_H
#define ES_TIDY_H

extern void EsTidyInit(void);

#endif							/* ES_TIDY_H */
