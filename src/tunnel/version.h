/*
 * Versions of the tunnel's formats. A node of version N speaks N, and N - 1 with those
 * who have no more. Which one two of them speak follows from the descriptor of the one
 * that is called, which is signed and was confirmed; it is asked for once, bound into
 * the handshake (linkhs.h, params.h), and nobody who gets no answer tries with less: so
 * nothing on the way can make two that speak more speak less.
 */
#ifndef CULVERT_TUNNEL_VERSION_H
#define CULVERT_TUNNEL_VERSION_H

#include <stdbool.h>
#include <stdint.h>

enum { TUN_VERSION = 1 };

/* Does a node of version `ours` take what is said in `version`? */
static inline bool tun_version_is_spoken(uint8_t ours, uint8_t version) {
    return version > 0 && (version == ours || version + 1 == ours);
}

/* What a node of version `ours` says to one whose descriptor says `theirs`; 0: they do
 * not understand each other. */
static inline uint8_t tun_version_between(uint8_t ours, uint8_t theirs) {
    uint8_t less = ours < theirs ? ours : theirs, more = ours < theirs ? theirs : ours;
    return tun_version_is_spoken(more, less) ? less : 0;
}

#endif
