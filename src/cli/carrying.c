#include "cli/carrying.h"

#include <string.h>

#include "cli/session.h"

void cli_carrying_tick(struct cli_session *c, cv_usec now) {
    struct cli_carrying *k = &c->carrying;
    if (k->n > CLI_CARRYING_SECONDS)
        memmove(k->seen, k->seen + 1, --k->n * sizeof *k->seen);
    k->seen[k->n].at = now;
    k->seen[k->n].out = 0;
    for (unsigned end = 0; end < IO_SOCKET_ENDS; end++)
        k->seen[k->n].out += io_host_stats(c->host, NODE_SOCKET_MAIN, end).octets_out;
    k->n++;
}

json_t *cli_carrying_status(const struct cli_session *c) {
    const struct cli_carrying *k = &c->carrying;
    uint64_t rate = 0;
    if (k->n > 1) {
        unsigned last = k->n - 1;
        double seconds = (double)(k->seen[last].at - k->seen[0].at) / 1e6;
        rate = (uint64_t)((double)(k->seen[last].out - k->seen[0].out) / seconds);
    }
    return json_pack("{s:I, s:I}", "rate", (json_int_t)rate, "limit", (json_int_t)c->s->bandwidth);
}
