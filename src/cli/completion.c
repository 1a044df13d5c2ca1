#include "cli/completion.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cli/exitcode.h"
#include "cli/options.h"
#include "cli/verbs.h"

static const char head[] = "# Completion of culvert, written by 'culvert completion %s'.\n";

/* Text between single quotes; shells say a quote in it in different ways. */
static void quoted(FILE *out, const char *text, const char *quote, const char *escaped) {
    for (; *text; text++) {
        if (*text == '\'')
            fputs(quote, out);
        else if (strchr(escaped, *text))
            fprintf(out, "\\%c", *text);
        else
            fputc(*text, out);
    }
}

/* ---- bash ---- */

/* Options of that kind, of all verbs: letters and names mean the same everywhere. */
static void bash_options(FILE *out, bool file, const char *what) {
    struct cli_option_info o;
    const char *between = "";
    fputs("    ", out);
    for (size_t i = 0; cli_option_info(i, ~0u, &o); i++) {
        if (!o.arg || o.file != file)
            continue;
        fprintf(out, "%s--%s|-%c", between, o.name, o.key);
        between = "|";
    }
    fprintf(out, ") %s return ;;\n", what);
}

static void bash(FILE *out) {
    struct cli_verb_info v;
    struct cli_option_info o;
    fputs("_culvert() {\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
          "    COMPREPLY=()\n"
          "    if [[ $COMP_CWORD == 1 ]]; then\n"
          "        COMPREPLY=($(compgen -W '--help --version",
          out);
    for (size_t i = 0; cli_verb_info(i, &v); i++)
        fprintf(out, " %s", v.name);
    fputs("' -- \"$cur\"))\n        return\n    fi\n    case $prev in\n", out);
    bash_options(out, true, "compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\"));");
    bash_options(out, false, "");
    fputs("    esac\n    if [[ $cur != -* ]]; then\n        case ${COMP_WORDS[1]} in\n", out);
    for (size_t i = 0; cli_verb_info(i, &v); i++) {
        if (v.words)
            fprintf(out, "        %s) COMPREPLY=($(compgen -W '%s' -- \"$cur\")) ;;\n", v.name,
                    v.words);
        else if (v.file)
            fprintf(out,
                    "        %s) compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n",
                    v.name);
    }
    fputs("        esac\n        return\n    fi\n    case ${COMP_WORDS[1]} in\n", out);
    for (size_t i = 0; cli_verb_info(i, &v); i++) {
        fprintf(out, "    %s) COMPREPLY=($(compgen -W '--help", v.name);
        for (size_t j = 0; cli_option_info(j, v.verb, &o); j++)
            fprintf(out, " --%s", o.name);
        fputs("' -- \"$cur\")) ;;\n", out);
    }
    fputs("    esac\n}\ncomplete -F _culvert culvert\n", out);
}

/* ---- zsh ---- */

static void zsh_option(FILE *out, const struct cli_option_info *o) {
    fputs(" \\\n            '", out);
    if (o->many)
        fputc('*', out); /* also where it stands already */
    else
        fprintf(out, "(-%c --%s)", o->key, o->name);
    fprintf(out, "'{-%c%s,--%s%s}'[", o->key, o->arg ? "+" : "", o->name, o->arg ? "=" : "");
    quoted(out, o->help, "'\\''", "[]:\\");
    fputc(']', out);
    if (o->arg) {
        fputc(':', out);
        quoted(out, o->arg, "'\\''", ":\\");
        fputs(o->file ? ":_files" : ": ", out);
    }
    fputc('\'', out);
}

static void zsh(FILE *out) {
    struct cli_verb_info v;
    struct cli_option_info o;
    fputs("_culvert() {\n    local -a verbs\n    verbs=(\n", out);
    for (size_t i = 0; cli_verb_info(i, &v); i++) {
        fprintf(out, "        '%s:", v.name);
        quoted(out, v.help, "'\\''", ":\\");
        fputs("'\n", out);
    }
    fputs("    )\n    if (( CURRENT == 2 )); then\n        _describe verb verbs\n        return\n"
          "    fi\n    local verb=$words[2]\n    shift words\n    (( CURRENT-- ))\n"
          "    case $verb in\n",
          out);
    for (size_t i = 0; cli_verb_info(i, &v); i++) {
        fprintf(out, "    %s)\n        _arguments -s '--help[what it can do]'", v.name);
        for (size_t j = 0; cli_option_info(j, v.verb, &o); j++)
            zsh_option(out, &o);
        if (v.words)
            fprintf(out, " \\\n            '1:%s:(%s)'", v.arg, v.words);
        else if (v.file)
            fputs(" \\\n            '*:file:_files'", out);
        fputs("\n        ;;\n", out);
    }
    fputs("    esac\n}\n"
          "if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _culvert \"$@\"\n"
          "else compdef _culvert culvert; fi\n",
          out);
}

/* ---- fish ---- */

static void fish(FILE *out) {
    struct cli_verb_info v;
    struct cli_option_info o;
    fputs("complete -c culvert -f\n", out);
    for (size_t i = 0; cli_verb_info(i, &v); i++) {
        fprintf(out, "complete -c culvert -n __fish_use_subcommand -a %s -d '", v.name);
        quoted(out, v.help, "\\'", "\\");
        fputs("'\n", out);
        if (v.file)
            fprintf(out, "complete -c culvert -n '__fish_seen_subcommand_from %s' -F\n", v.name);
        if (v.words)
            fprintf(out, "complete -c culvert -n '__fish_seen_subcommand_from %s' -a '%s'\n",
                    v.name, v.words);
        for (size_t j = 0; cli_option_info(j, v.verb, &o); j++) {
            fprintf(out,
                    "complete -c culvert -n '__fish_seen_subcommand_from %s' -s %c -l %s%s -d '",
                    v.name, o.key, o.name,
                    !o.arg   ? ""
                    : o.file ? " -rF"
                             : " -x");
            quoted(out, o.help, "\\'", "\\");
            fputs("'\n", out);
        }
    }
}

bool cli_completion_write(const char *shell, FILE *out) {
    static const struct {
        const char *shell;
        void (*write)(FILE *out);
    } shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++) {
        if (strcmp(shells[i].shell, shell) != 0)
            continue;
        if (shells[i].write == zsh) /* it looks at the first line */
            fputs("#compdef culvert\n", out);
        fprintf(out, head, shell);
        shells[i].write(out);
        return true;
    }
    return false;
}

int cli_completion(const struct cli_settings *s) {
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return CLI_FAILED;
    bool known = cli_completion_write(s->argument, out);
    fclose(out);
    if (!known) {
        fprintf(stderr, "culvert: shell '%.60s': is not bash, zsh or fish\n", s->argument);
    } else if (s->json) {
        json_t *o = json_pack("{s:s, s:s}", "shell", s->argument, "script", text);
        json_dumpf(o, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(o);
    } else {
        fputs(text, stdout);
    }
    free(text);
    return known ? CLI_OK : CLI_USAGE;
}
