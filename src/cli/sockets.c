#include "cli/sockets.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

struct inodes {
    uint64_t list[CLI_SOCKETS_MAX];
    size_t count;
};

/* The sockets among its descriptors; false: they may not be looked at. */
static bool find_inodes(pid_t pid, struct inodes *ret) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/fd", (long)pid);
    DIR *d = opendir(path);
    if (!d)
        return false;
    ret->count = 0;
    for (struct dirent *e; (e = readdir(d)) && ret->count < CLI_SOCKETS_MAX;) {
        char link[64];
        ssize_t n = readlinkat(dirfd(d), e->d_name, link, sizeof link - 1);
        link[n > 0 ? n : 0] = 0;
        if (strncmp(link, "socket:[", 8) == 0)
            ret->list[ret->count++] = strtoull(link + 8, NULL, 10);
    }
    closedir(d);
    return true;
}

static bool has(const struct inodes *i, uint64_t inode) {
    for (size_t n = 0; n < i->count; n++)
        if (i->list[n] == inode)
            return true;
    return false;
}

/* "0100007F:1F90", 32-bit words in the machine's order. */
static bool read_address(const char *text, struct cv_addr *ret) {
    size_t len = strcspn(text, ":"), words = len / 8;
    *ret = (struct cv_addr){.family = len == 8 ? 4 : 6};
    if ((len != 8 && len != 32) || !text[len])
        return false;
    for (size_t i = 0; i < words; i++) {
        char word[9] = "", *end;
        memcpy(word, text + 8 * i, 8);
        uint32_t v = (uint32_t)strtoul(word, &end, 16);
        memcpy(ret->ip + 4 * i, &v, 4);
    }
    ret->port = (uint16_t)strtoul(text + len + 1, NULL, 16);
    return true;
}

static size_t read_table(pid_t pid, const char *name, const struct inodes *of, size_t n,
                         struct cli_socket ret[CLI_SOCKETS_MAX]) {
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%ld/net/%s", (long)pid, name);
    FILE *f = fopen(path, "r");
    while (f && n < CLI_SOCKETS_MAX && fgets(line, sizeof line, f)) {
        char *rest = line, *field[10];
        size_t fields = 0;
        while (fields < 10 && *(rest += strspn(rest, " ")) != 0) {
            field[fields++] = rest;
            rest += strcspn(rest, " \n");
            if (*rest)
                *rest++ = 0;
        }
        if (fields == 10 && has(of, strtoull(field[9], NULL, 10)) &&
            read_address(field[1], &ret[n].local))
            ret[n++].udp = name[0] == 'u';
    }
    if (f)
        fclose(f);
    return n;
}

ssize_t cli_sockets_of(pid_t pid, struct cli_socket ret[CLI_SOCKETS_MAX]) {
    static const char *const tables[] = {"udp", "udp6", "tcp", "tcp6"};
    struct inodes of;
    size_t n = 0;
    if (!find_inodes(pid, &of))
        return -1;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        n = read_table(pid, tables[i], &of, n, ret);
    return (ssize_t)n;
}
