/** The clock that all processes of one machine share. */

/** Microseconds of CLOCK_MONOTONIC. */
export const now = (): number => Number(process.hrtime.bigint() / 1000n);
