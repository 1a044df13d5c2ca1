/* 128-bit products, for rounding that is the same on every machine. */
#ifndef CULVERT_REPUTATION_WIDE_H
#define CULVERT_REPUTATION_WIDE_H

__extension__ typedef unsigned __int128 rep_u128;

#endif
