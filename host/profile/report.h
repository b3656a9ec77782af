/* What the writers of profiles share: derived figures, and JSON. */
#ifndef ST_REPORT_H
#define ST_REPORT_H

#include "host/profile/profile.h"

/* Time and cost of anything: a row, a layer, a phase. */
typedef struct st_figures {
    double seconds;
    st_cost cost;
} st_figures;

/* Processors taken away per second beyond which times are not to be trusted. A quiet machine has a few, from
 * the system's own work. */
#define ST_TAKEN_RATE 20.0

/* ---- derived figures; NaN where there is none: nothing moved, or times of a software driver ---- */
double st_bytes_rate(const st_profile *profile, const st_figures *f); /* bytes per second */
double st_read_share(const st_profile *profile, const st_figures *f); /* of the read ceiling, 1 = all */
double st_mac_rate(const st_profile *profile, const st_figures *f);   /* multiply-accumulates per second */
double st_intensity(const st_figures *f);                             /* multiply-accumulates per byte */
double st_ratio(double a, double b);                                  /* NaN if b is 0 */
double st_unaccounted(const st_profile_phase *phase);                 /* seconds */

/* "1.18 GB", "37.6 kB", "5.2 ms": three significant digits, powers of 1000; `unit` "B/s", "s", ... ; "-" for
 * NaN. */
const char *st_scaled(double value, const char *unit, char text[24]);
/* "norm_quant, qkv, avx2": the op and its place, where it has more than one. */
const char *st_row_label(const st_profile_row *row, char text[64]);

/* ---- JSON on a stream ---- */
typedef struct st_json {
    FILE *out;
    int lines; /* levels whose values have a line each */
    int depth;
    bool first; /* nothing stands in the innermost object or array yet */
} st_json;

/* Keys are NULL in arrays. */
void st_json_open(st_json *j, const char *key, char bracket);     /* '{' or '[' */
void st_json_close(st_json *j, char bracket);                     /* '}' or ']' */
void st_json_text(st_json *j, const char *key, const char *text); /* any bytes; no '<' comes out */
void st_json_real(st_json *j, const char *key, double value);     /* null if it is not finite */
void st_json_whole(st_json *j, const char *key, int64_t value);
void st_json_flag(st_json *j, const char *key, bool value);

/* The whole profile as one object. */
void st_profile_json_object(const st_profile *profile, st_json *j);

#endif
