#include "host/profile/report.h"

#include <math.h>
#include <string.h>

double st_ratio(double a, double b)
{
    return b != 0.0 ? a / b : (double)NAN;
}

/* Software drivers give the right results, but their times say nothing of any device. */
static double per_second(const st_profile *p, double n, double seconds)
{
    return p->device.software || n == 0.0 ? (double)NAN : st_ratio(n, seconds);
}

double st_bytes_rate(const st_profile *p, const st_figures *f)
{
    return per_second(p, (double)f->cost.bytes, f->seconds);
}

double st_read_share(const st_profile *p, const st_figures *f)
{
    return st_ratio(st_bytes_rate(p, f), p->read.rate);
}

double st_mac_rate(const st_profile *p, const st_figures *f)
{
    return per_second(p, (double)f->cost.multiply_accumulate, f->seconds);
}

double st_intensity(const st_figures *f)
{
    return st_ratio((double)f->cost.multiply_accumulate, (double)f->cost.bytes);
}

double st_unaccounted(const st_profile_phase *phase)
{
    return phase->device_seconds - phase->op_seconds;
}

const char *st_scaled(double value, const char *unit, char text[24])
{
    static const char *const prefixes[] = {"", "k", "M", "G", "T", "P", "E"};
    int i = 0;
    if (!isfinite(value)) {
        strcpy(text, "-");
        return text;
    }
    while (fabs(value) >= 999.5 && i < 6) {
        value /= 1000.0;
        i++;
    }
    static const char *const small[] = {"", "m", "\xc2\xb5", "n"};
    int down = 0;
    bool divisible =
        strcmp(unit, "s") == 0 || strcmp(unit, "J") == 0; /* others are counts of something whole */
    while (divisible && value != 0.0 && fabs(value) < 0.9995 && down < 3) {
        value *= 1000.0;
        down++;
    }
    int digits = fabs(value) >= 99.95 || (i == 0 && value == floor(value)) ? 0 : fabs(value) >= 9.995 ? 1 : 2;
    snprintf(text, 24, "%.*f %s%s", digits, value, down ? small[down] : prefixes[i], unit);
    return text;
}

const char *st_row_label(const st_profile_row *row, char text[64])
{
    bool one = row->op == ST_OP_EMBED || row->op == ST_OP_ROPE_STORE || row->op == ST_OP_ATTEND ||
               row->op == ST_OP_GLU_NORM_QUANT || row->op == ST_OP_TOPK;
    if (row->op == ST_OP_LINEAR)
        snprintf(text, 64, "%s", st_place_name(row->place));
    else
        snprintf(text, 64, "%s%s%s", st_op_name(row->op), one ? "" : " of ",
                 one ? "" : st_place_name(row->place));
    return text;
}

/* ---- JSON ---- */

static void separate(st_json *j, bool more)
{
    if (j->depth > 0 && j->depth <= j->lines)
        fprintf(j->out, "\n%*s", 2 * j->depth, "");
    else if (more)
        fputc(' ', j->out);
}

static void key_of(st_json *j, const char *key)
{
    if (!j->first)
        fputc(',', j->out);
    separate(j, !j->first);
    j->first = false;
    if (key)
        fprintf(j->out, "\"%s\": ", key);
}

void st_json_open(st_json *j, const char *key, char bracket)
{
    key_of(j, key);
    fputc(bracket, j->out);
    j->depth++;
    j->first = true;
}

void st_json_close(st_json *j, char bracket)
{
    if (j->depth <= j->lines && !j->first)
        fprintf(j->out, "\n%*s", 2 * (j->depth - 1), "");
    j->depth--;
    fputc(bracket, j->out);
    j->first = false;
}

/* Bytes of the UTF-8 character at `s`, 0 if it is none. */
static int character(const unsigned char *s)
{
    int n = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 : 0;
    if (s[0] >= 0xf0 && s[0] < 0xf5)
        n = 4;
    for (int i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    /* longer than need be, surrogates, past U+10FFFF */
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

void st_json_text(st_json *j, const char *key, const char *text)
{
    key_of(j, key);
    fputc('"', j->out);
    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        int n = character(s);
        if (n == 0)
            fputs("\\ufffd", j->out);
        else if (*s < 0x20 || *s == '<' || *s == 0x7f)
            fprintf(j->out, "\\u%04x", *s);
        else
            fprintf(j->out, "%s%.*s", *s == '"' || *s == '\\' ? "\\" : "", n, (const char *)s);
        s += n > 0 ? n : 1;
    }
    fputc('"', j->out);
}

void st_json_real(st_json *j, const char *key, double value)
{
    key_of(j, key);
    if (isfinite(value))
        fprintf(j->out, "%.9g", value);
    else
        fputs("null", j->out);
}

void st_json_whole(st_json *j, const char *key, int64_t value)
{
    key_of(j, key);
    fprintf(j->out, "%lld", (long long)value);
}

void st_json_flag(st_json *j, const char *key, bool value)
{
    key_of(j, key);
    fputs(value ? "true" : "false", j->out);
}
