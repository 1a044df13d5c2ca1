#include "base/err.h"

const char *cv_strerror(enum cv_err err) {
    switch (err) {
#define X(name, value, text)                                                                       \
    case CV_ERR_##name:                                                                            \
        return text;
        CV_ERR_TABLE(X)
#undef X
    }
    return "unknown error"; /* a number that came from outside */
}
