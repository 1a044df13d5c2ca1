/*
 * A file far larger than memory: 4 GiB, sparse; CULVERT_HUGE_GB says how many
 * gigabytes instead (the suite `slow` takes 246).
 */
#include "support/suite.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "io/store_file.h"
#include "support/folder.h"

CV_SUITE(io_store_huge, .init = cv_crypto_init, .timeout = 3600);

enum { CHUNK = 1024, H = 32 };

static struct io_store *share(struct io_state *state, const char *path) {
    struct io_share_config cfg = {.path = path, .chunk_size = CHUNK, .alg = CV_SHA256};
    struct io_why why = {""};
    struct io_store *s = NULL;
    uint8_t root[CV_SHA_MAX];
    cr_assert_eq(io_store_share(state, &cfg, &s, root, &why), CV_ERR_OK, "%s", why.text);
    return s;
}

/* What the files of the one store take. */
static uint64_t disk_octets(const char *folder) {
    static const char *const names[] = {"tree", "have"};
    uint64_t octets = 0;
    struct dirent *entry;
    DIR *d = opendir(folder);
    while ((entry = readdir(d)))
        for (size_t i = 0; i < 2; i++) {
            char path[900];
            struct stat st;
            snprintf(path, sizeof path, "%s/%s/%s", folder, entry->d_name, names[i]);
            if (stat(path, &st) == 0)
                octets += (uint64_t)st.st_blocks * 512;
        }
    closedir(d);
    return octets;
}

/* A number of /proc/self/FILE behind `label`. */
static uint64_t of_process(const char *file, const char *label) {
    char path[64], line[256];
    unsigned long long value = 0;
    snprintf(path, sizeof path, "/proc/self/%s", file);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, label, strlen(label)) == 0)
            value = strtoull(line + strlen(label), NULL, 10);
    cr_assert(f && value, "%s has no %s", path, label);
    fclose(f);
    return value;
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double processor_seconds(const struct rusage *a, const struct rusage *b) {
    return (double)(b->ru_utime.tv_sec - a->ru_utime.tv_sec + b->ru_stime.tv_sec -
                    a->ru_stime.tv_sec);
}

Test(io_store_huge, takes_a_hundredth_of_it_on_disk_and_little_memory) {
    const char *wish = getenv("CULVERT_HUGE_GB");
    uint64_t octets = wish ? strtoull(wish, NULL, 10) * 1000000000 : UINT64_C(4) << 30;
    char top[256], path[300], folder[300];
    struct io_state *state;
    struct io_store *s;
    struct rusage before, after;
    struct ppsp_store_size size;
    uint8_t got[CHUNK], nodes[31 * H], want[H];
    size_t len;
    folder_make(top);
    snprintf(path, sizeof path, "%s/film", top);
    snprintf(folder, sizeof folder, "%s/state", top);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    cr_assert_eq(ftruncate(fd, (off_t)octets), 0);
    close(fd);
    cr_assert_eq(io_state_open(folder, &state, NULL), CV_ERR_OK);
    cr_assert_eq(getrusage(RUSAGE_SELF, &before), 0);
    double begun = seconds();
    s = share(state, path);
    cr_assert_eq(getrusage(RUSAGE_SELF, &after), 0);
    cr_log_info("%.0f s, of %ld processors %.0f s", seconds() - begun,
                sysconf(_SC_NPROCESSORS_ONLN), processor_seconds(&before, &after));
    cr_expect_lt(disk_octets(folder), octets / 100);
    cr_expect_gt(disk_octets(folder), octets / 300, "looked at the wrong files");
    cr_expect_lt(after.ru_maxrss - before.ru_maxrss, 64 << 10, "%ld KiB more",
                 after.ru_maxrss - before.ru_maxrss);
    io_store_close(s);

    uint64_t read = of_process("io", "rchar: "), resident = of_process("status", "VmRSS:");
    begun = seconds();
    s = share(state, path); /* remembered: no second look at the content */
    cr_log_info("opened again in %.3f s", seconds() - begun);
    cr_expect_lt(of_process("io", "rchar: ") - read, 1 << 20, "what would take more than a second");
    cr_assert_eq(io_store_ops.size(s, &size), CV_ERR_OK);
    cr_expect_eq(size.octets, octets);
    cr_assert_eq(io_store_ops.read_chunks(s, size.chunks - 1, 1, got, sizeof got, &len), CV_ERR_OK);
    cv_sha(CV_SHA256, want, got, CHUNK);
    cr_assert_eq(io_store_ops.tree_get(s, (size.chunks - 1) / 16 * 32, 31, nodes), CV_ERR_OK);
    cr_expect_arr_eq(nodes + (size.chunks - 1) % 16 * 2 * H, want, H);
    for (uint64_t i = 0; i < 4096; i++) { /* served from everywhere */
        uint64_t chunk = size.chunks / 4096 * i;
        cr_assert_eq(io_store_ops.read_chunks(s, chunk, 1, got, sizeof got, &len), CV_ERR_OK);
        cr_assert_eq(io_store_ops.tree_get(s, chunk / 16 * 32, 31, nodes), CV_ERR_OK);
    }
    uint64_t more = of_process("status", "VmRSS:");
    more = more > resident ? more - resident : 0;
    cr_expect_lt(more, 64 << 10, "%lu KiB more", (unsigned long)more);
    io_store_close(s);
    io_state_close(state);
    folder_remove(top);
}
