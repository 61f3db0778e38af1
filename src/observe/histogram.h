/*
 * histogram.h
 *		Exponential buckets of base 2^(1/4), found without a logarithm.
 *
 * Bucket i of a histogram with the lowest exponent e holds the values up to
 * 2^(e + i/4), and not those of the bucket before it.  The relative error of a
 * quantile is at most 9 %.  A bound belongs to the bucket below it, as
 * Prometheus has it.
 */
#ifndef ES_HISTOGRAM_H
#define ES_HISTOGRAM_H

#include <math.h>

#define ES_BUCKETS_PER_POWER	4

/* Mantissas of 2^(1/4), 2^(1/2) and 2^(3/4), as they stand in a double. */
#define ES_MANTISSA_1	UINT64CONST(0x306fe0a31b715)
#define ES_MANTISSA_2	UINT64CONST(0x6a09e667f3bcd)
#define ES_MANTISSA_3	UINT64CONST(0xae89f995ad3ad)

/*
 * The bucket of a value among nbuckets, of which the last has no bound.
 * Zero, negative values and NaN go into the first.
 */
static inline int
es_bucket(double value, int lowest, int nbuckets)
{
	uint64		bits;
	uint64		mantissa;
	int			bucket;

	if (!(value > 0))
		return 0;
	memcpy(&bits, &value, sizeof(bits));
	mantissa = bits & UINT64CONST(0xfffffffffffff);
	bucket = ((int) (bits >> 52) - 1023 - lowest) * ES_BUCKETS_PER_POWER +
		(mantissa > 0) + (mantissa > ES_MANTISSA_1) + (mantissa > ES_MANTISSA_2) + (mantissa > ES_MANTISSA_3);
	return Max(0, Min(bucket, nbuckets - 1));
}

/* The upper bound of a bucket that has one. */
static inline double
es_bucket_bound(int bucket, int lowest)
{
	static const uint64 mantissas[] = {0, ES_MANTISSA_1, ES_MANTISSA_2, ES_MANTISSA_3};
	uint64		bits = UINT64CONST(0x3ff0000000000000) | mantissas[bucket % ES_BUCKETS_PER_POWER];
	double		value;

	memcpy(&value, &bits, sizeof(value));
	return ldexp(value, lowest + bucket / ES_BUCKETS_PER_POWER);
}

#endif							/* ES_HISTOGRAM_H */
