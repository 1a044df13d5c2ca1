/*
 * Runs a fuzz target over files instead of generated input: every committed
 * input is an ordinary test, without libFuzzer, with gcc as with clang.
 *
 *     replay_NAME FILE|FOLDER...     status 0, or it died on the file named last
 *
 * An empty corpus is an error: it would prove nothing.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (1u << 20)

static int replay_file(FILE *f, const char *name) {
    /* Exactly as large as the input, so that a read past its end is seen. */
    uint8_t *all = malloc(INPUT_MAX);
    size_t size = all ? fread(all, 1, INPUT_MAX, f) : 0;
    uint8_t *data = malloc(size ? size : 1);
    if (!all || !data || ferror(f)) {
        fprintf(stderr, "%s: cannot be read\n", name);
        free(all);
        free(data);
        return 0;
    }
    memcpy(data, all, size);
    free(all);

    fprintf(stderr, "%s\n", name);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 1;
}

static int replay(const char *path, int depth);

static int replay_folder(DIR *folder, const char *path) {
    int done = 0;
    for (struct dirent *e; (e = readdir(folder));) {
        char inner[4096];
        if (e->d_name[0] == '.')
            continue;
        int n = snprintf(inner, sizeof inner, "%s/%s", path, e->d_name);
        if (n > 0 && (size_t)n < sizeof inner)
            done += replay(inner, 1);
    }
    return done;
}

/* Inputs run; folders are not entered below the first level. */
static int replay(const char *path, int depth) {
    DIR *folder = depth ? NULL : opendir(path);
    if (folder) {
        int done = replay_folder(folder, path);
        closedir(folder);
        return done;
    }
    FILE *f = fopen(path, "rb");
    if (!f) {
        fprintf(stderr, "%s: error %d\n", path, errno);
        return 0;
    }
    int done = replay_file(f, path);
    fclose(f);
    return done;
}

int main(int argc, char **argv) {
    int done = 0;
    for (int i = 1; i < argc; i++)
        done += replay(argv[i], 0);
    printf("%d inputs\n", done);
    return done > 0 ? 0 : 1;
}
