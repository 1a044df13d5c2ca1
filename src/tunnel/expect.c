/*
 * Datagrams that are about to come (tun_expect). With many circuits a cell waits longer for
 * its circuit's memory than it takes to open a header, and the next one's can be fetched
 * meanwhile: the circuit's place in the link's table at first, the circuit itself when the
 * one behind it is expected.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "tunnel/core.h"

static void fetch(uintptr_t line) {
    __builtin_prefetch((const void *)line);
}

/* The lines that a cell touches which goes on (struct tun_hop). Which leg it is only its id
 * says here: to ask the leg would be to wait for it. (Of a circuit of ours what lies around it
 * is fetched in vain, and may be no object: addresses are numbers here.) */
static void fetch_hop(const struct tun_link *l, const struct tun_header *header) {
    uintptr_t leg = (uintptr_t)tun_idtable_get(&l->circuits, header->circuit);
    if (!leg)
        return;
    if (tun_is_theirs(l, header->circuit)) {
        uintptr_t hop = leg - offsetof(struct tun_hop, prev);
        fetch(hop);
        fetch(hop + TUN_LINE);
        fetch(hop + offsetof(struct tun_hop, layer.forward_mask_key));
        fetch(hop + offsetof(struct tun_hop, layer.forward.window.last));
    } else {
        uintptr_t hop = leg - offsetof(struct tun_hop, next);
        fetch(hop + TUN_LINE);
        fetch(hop + offsetof(struct tun_hop, prev));
        fetch(hop + offsetof(struct tun_hop, prev) + TUN_LINE);
        fetch(hop + offsetof(struct tun_hop, layer.backward.secret.key[TUN_KEY_TRANSIT]));
    }
}

void tun_expect(struct tunnel *t, const void *buf, size_t len) {
    const struct tun_expected *before = &t->expected[t->expected_last];
    if (before->link)
        fetch_hop(before->link, &before->header);
    t->expected_last = (t->expected_last + 1) % TUN_EXPECTED_MAX;
    struct tun_expected *e = &t->expected[t->expected_last];
    e->link = NULL;
    if (len != TUN_DATAGRAM)
        return;
    uint32_t index = tun_cell_index(buf);
    struct tun_link *l = tun_rxindex_find(t->rx, index);
    if (!l || !l->now.live || l->now.local_index != index ||
        !tun_cell_open(buf, &l->now.rx_secret, &e->header))
        return;
    e->link = l;
    memcpy(e->octets, buf, sizeof e->octets);
    tun_idtable_near(&l->circuits, e->header.circuit);
}

bool tun_expected(const struct tunnel *t, const struct tun_link *l, uint32_t index,
                  const uint8_t *buf, struct tun_header *ret) {
    if (l->now.local_index != index)
        return false;
    for (unsigned i = 0; i < TUN_EXPECTED_MAX; i++) {
        const struct tun_expected *e = &t->expected[i];
        if (e->link != l || memcmp(e->octets, buf, sizeof e->octets) != 0)
            continue;
        *ret = e->header;
        return true;
    }
    return false;
}

void tun_expect_end(struct tunnel *t, const struct tun_link *l) {
    for (unsigned i = 0; i < TUN_EXPECTED_MAX; i++)
        if (t->expected[i].link == l)
            t->expected[i].link = NULL;
}
