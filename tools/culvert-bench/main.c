/*
 * culvert-bench: every figure of docs/performance.md, as one JSON object on
 * standard output. The real programs run as separate processes, one a hop, with
 * real sockets, files and integrity checks; what arrived is hashed; CPU time is
 * the operating system's account of all of them.
 */
#include <argp.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bench_version.h"
#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "culvert-bench/bench.h"
#include "tunnel/path.h"

static char folder[256];

const char *bench_folder(void) {
    if (!folder[0]) {
        snprintf(folder, sizeof folder, "%s/culvert-bench-XXXXXX",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        if (!mkdtemp(folder))
            bench_die("cannot make a folder like %s", folder);
    }
    return folder;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw) {
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

void bench_folder_remove(void) {
    if (folder[0] && nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
        fprintf(stderr, "culvert-bench: %s was not removed\n", folder);
    folder[0] = 0;
}

void bench_make_file(const char *path, unsigned mib) {
    static uint8_t block[1 << 20];
    struct cv_rng_seeded seeded;
    cv_rng_seeded_init(&seeded, 1);
    struct cv_rng rng = cv_rng_seeded(&seeded);
    FILE *f = fopen(path, "wb");
    for (unsigned i = 0; f && i < mib; i++) {
        cv_rng_fill(&rng, block, sizeof block);
        if (fwrite(block, 1, sizeof block, f) != sizeof block)
            bench_die("%s: cannot be written", path);
    }
    if (!f || fclose(f) != 0)
        bench_die("%s: cannot be written", path);
}

void bench_touch_memory(unsigned mib) {
    char path[300];
    static uint8_t block[1 << 20];
    snprintf(path, sizeof path, "%s/touched", bench_folder());
    FILE *f = fopen(path, "wb");
    memset(block, 1, sizeof block);
    for (unsigned i = 0; f && i < mib; i++)
        if (fwrite(block, 1, sizeof block, f) != sizeof block)
            bench_die("%s: cannot be written", path);
    if (!f || fclose(f) != 0 || remove(path) != 0)
        bench_die("%s: cannot be written", path);
}

void bench_sha256(const char *path, char out[65]) {
    static uint8_t block[1 << 20];
    uint8_t sum[32];
    struct cv_sha_run *run = cv_sha_run_new(CV_SHA256);
    FILE *f = fopen(path, "rb");
    if (!run || !f)
        bench_die("%s: cannot be read", path);
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;)
        cv_sha_run_add(run, block, n);
    fclose(f);
    cv_sha_run_end(run, sum);
    cv_sha_run_free(run);
    for (size_t i = 0; i < sizeof sum; i++)
        snprintf(out + 2 * i, 3, "%02x", sum[i]);
}

static const char *beside(char *out, size_t cap, const char *name) {
    snprintf(out, cap, "%s%s", spawn_folder(), name);
    if (access(out, X_OK) != 0)
        bench_die("%s: not there; build everything first", out);
    return out;
}

const char *bench_culvert(void) {
    static char path[4200];
    return path[0] ? path : beside(path, sizeof path, "../src/cli/culvert");
}

const char *bench_dht(void) {
    static char path[4200];
    return path[0] ? path : beside(path, sizeof path, "culvert-dht");
}

void bench_describe(json_t *o, const struct bench_options *opt) {
    struct utsname u;
    uname(&u);
    json_object_set_new(o, "commit", json_string(BENCH_COMMIT));
    json_object_set_new(o, "suite", json_string("25519, ChaCha20-Poly1305, BLAKE2b, SHA-256"));
    json_object_set_new(o, "kernel", json_string(u.release));
    if (opt->mib) {
        json_object_set_new(o, "mib", json_integer(opt->mib));
        json_object_set_new(o, "buffer_asked", json_integer((json_int_t)opt->buffer_mib << 20));
    }
    json_object_set_new(o, "cores", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
}

/* ---- command line ---- */

static const struct {
    const char *name;
    json_t *(*run)(const struct bench_options *o);
    unsigned mib; /* when none is asked for */
} benches[] = {
    {"ppsp", bench_ppsp, 1024},    {"tunnel", bench_tunnel, 256},
    {"hidden", bench_hidden, 128}, {"ledger", bench_ledger, 0},
    {"sim", bench_sim, 0},         {"dht", bench_dht_node, 0},
    {"relay", bench_relay, 0},     {"gateway", bench_gateway, 1024},
};
enum { BENCHES = sizeof benches / sizeof *benches };

struct line {
    struct bench_options o;
    int bench;
};

static error_t on_option(int key, char *arg, struct argp_state *state) {
    struct line *l = state->input;
    switch (key) {
    case 'm':
        l->o.mib = (unsigned)strtoul(arg, NULL, 10);
        return 0;
    case 'b':
        l->o.buffer_mib = (unsigned)strtoul(arg, NULL, 10);
        return 0;
    case 'r':
        l->o.runs = (unsigned)strtoul(arg, NULL, 10);
        return 0;
    case 'n':
        l->o.records = (unsigned)strtoul(arg, NULL, 10);
        return 0;
    case 'k':
        l->o.hashes = (unsigned)strtoul(arg, NULL, 10);
        return 0;
    case 'C':
        l->o.circuits = (unsigned)strtoul(arg, NULL, 10);
        return 0;
    case 't':
        l->o.minutes = (unsigned)strtoul(arg, NULL, 10);
        return 0;
    case 'c':
        l->o.chunk_size = (unsigned)strtoul(arg, NULL, 10);
        return 0;
    case 'v':
        l->o.viewers = (unsigned)strtoul(arg, NULL, 10);
        return 0;
    case 's':
        l->o.streams = (unsigned)strtoul(arg, NULL, 10);
        return 0;
    case 'H':
        l->o.hops = (unsigned)strtoul(arg, NULL, 10);
        if (l->o.hops < 1 || l->o.hops > 4)
            argp_error(state, "--hops '%s': a circuit has 1 to 4", arg);
        return 0;
    case 'V':
        l->o.vs = arg;
        return 0;
    case 'j':
        return 0; /* there is no other output; accepted so that scripts may say it */
    case ARGP_KEY_ARG:
        for (int i = 0; i < BENCHES; i++)
            if (strcmp(arg, benches[i].name) == 0)
                l->bench = i;
        if (l->bench < 0 || state->arg_num > 0)
            argp_error(state, "'%s' is not a bench", arg);
        return 0;
    case ARGP_KEY_END:
        if (l->bench < 0)
            argp_error(state, "which bench?");
        if (l->o.hops && benches[l->bench].run == bench_hidden)
            argp_error(
                state,
                "--hops is for 'tunnel': a hidden film goes over %u hops of its viewer's, of "
                "which the last is the meeting point, and %u more of its seeder's, and so do "
                "all: another length would tell its owner from everybody else",
                tun_path_length(TUN_PURPOSE_MEET), tun_path_length(TUN_PURPOSE_JOIN) - 1);
        if (l->o.hops && benches[l->bench].run != bench_tunnel)
            argp_error(state, "--hops is for 'tunnel' alone");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv) {
    static const struct argp_option options[] = {
        {"mib", 'm', "N", 0, "size of the file that is carried", 0},
        {"buffer", 'b', "MIB", 0, "socket buffers to ask for (default: the system's)", 0},
        {"runs", 'r', "N", 0, "repetitions where a median is given", 0},
        {"records", 'n', "N", 0, "half-blocks of 'ledger'", 0},
        {"chunk-size", 'c', "N", 0, "octets of a chunk of 'ppsp'", 0},
        {"viewers", 'v', "N", 0, "viewers at once of 'ppsp'", 0},
        {"streams", 's', "N", 0, "viewers at once of 'tunnel' and 'hidden', each with its circuit",
         0},
        {"hops", 'H', "N", 0,
         "hops of the circuits that 'tunnel' builds itself, 1 to 4 (default 3)", 0},
        {"vs", 'V', "PEER", 0, "'ppsp' once more by libtorrent (TCP) or libtorrent-utp", 0},
        {"hashes", 'k', "N", 0, "keys that 'dht' stores 500 peers each for", 0},
        {"circuits", 'C', "N", 0, "circuits through the relay of 'relay' (default 50000)", 0},
        {"minutes", 't', "N", 0, "simulated minutes of 'sim' (default 10)", 0},
        {"json", 'j', NULL, 0, "one JSON object (there is no other form)", 0},
        {0}};
    static const struct argp argp = {
        options,
        on_option,
        "ppsp | tunnel | hidden | relay | ledger | sim | dht | gateway",
        "Measures; docs/performance.md explains the figures."
        "\v"
        "Of 'tunnel', after the film: build_ms_median is how long a circuit of so many hops takes "
        "over "
        "links that are there, path_rtt_ms_median a question to its last hop and back, "
        "first_octet_ms_median and first_octet_rtts_median the first verified chunk of a film that "
        "the last hop shares, in milliseconds and in such round trips; one circuit after the "
        "other, 20 for each of the runs; circuit_mb_per_s is the rest of the film through one "
        "more. The film before, and 'hidden', go the way that viewers go, whose length is fixed "
        "by its purpose: three hops, and in 'hidden' three more of the seeder's behind them. "
        "start_ms_median is how long the process of a viewer with an empty "
        "state folder takes to its first peer.",
        NULL,
        NULL,
        NULL};
    struct line l = {.bench = -1,
                     .o = {.runs = 5,
                           .minutes = 10, /* so that the first minutes do not decide */
                           .records = 20000,
                           .hashes = 2000,
                           .circuits = 50000,
                           .chunk_size = 1024,
                           .viewers = 1,
                           .streams = 1}};
    argp_err_exit_status = 2;
    argp_parse(&argp, argc, argv, 0, NULL, &l);
    if (!l.o.hops)
        l.o.hops = 3;
    if (!l.o.mib)
        l.o.mib = benches[l.bench].mib;
    cv_crypto_init();
    json_t *o = benches[l.bench].run(&l.o);
    bench_describe(o, &l.o);
    char *text = json_dumps(o, JSON_INDENT(2));
    puts(text);
    free(text);
    json_decref(o);
    bench_folder_remove();
    return 0;
}
