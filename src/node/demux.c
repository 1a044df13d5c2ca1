#include "node/state.h"

/* Overlay datagrams have one length. An answer of the DHT can have it too; then
 * the tunnel knows by the receiver index, which never begins with 'd'. */
bool node_demux_is_tunnel(const struct node *n, const uint8_t *buf, size_t len) {
    return n->relay && len == TUN_DATAGRAM && tun_is_ours(n->relay, buf, len);
}
