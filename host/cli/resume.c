#define _XOPEN_SOURCE 700 /* realpath */
/* sterna run --resume: which results of an earlier run stay. */
#include "host/cli/batch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool keep_range(st_earlier *earlier, size_t first, size_t end)
{
    if (earlier->n_keep > 0 && earlier->keep[earlier->n_keep - 1].end == first) {
        earlier->keep[earlier->n_keep - 1].end = end;
        return true;
    }
    if (earlier->n_keep == earlier->capacity) {
        size_t capacity = earlier->capacity ? 2 * earlier->capacity : 16;
        st_range *grown = realloc(earlier->keep, capacity * sizeof *grown);
        if (!grown)
            return false;
        earlier->keep = grown;
        earlier->capacity = capacity;
    }
    earlier->keep[earlier->n_keep++] = (st_range){first, end};
    return true;
}

bool st_earlier_is_clean(const st_earlier *earlier)
{
    return earlier->size == 0 ||
           (earlier->n_keep == 1 && earlier->keep[0].first == 0 && earlier->keep[0].end == earlier->size);
}

/* ---- one result ---- */

/* A request that has none of its samples finished keeps no list of them. */
static int mark_kept(const st_place *at, st_job *job, json_int_t index, json_int_t sample)
{
    if (!job->kept && !(job->kept = calloc((size_t)job->request.n_sample, sizeof *job->kept)))
        return st_place_fail(at, "out of memory");
    if (job->kept[sample])
        return job->request.n_sample > 1
                   ? st_place_fail(at,
                                   "a second result of sample %" JSON_INTEGER_FORMAT
                                   " of request %" JSON_INTEGER_FORMAT,
                                   sample, index)
                   : st_place_fail(at, "a second result of request %" JSON_INTEGER_FORMAT, index);
    job->kept[sample] = true;
    job->n_open--;
    return ST_EXIT_OK;
}

/* Checks the result against its request; *keep tells whether it stays. */
static int take_result(const st_place *at, st_jobs *jobs, const json_t *line, bool *keep)
{
    const json_t *number = json_object_get(line, "index"), *label = json_object_get(line, "id"),
                 *which = json_object_get(line, "sample");
    const char *finish = json_string_value(json_object_get(line, "finish"));
    const char *request = json_string_value(json_object_get(line, "request"));
    json_int_t index = json_integer_value(number), sample = json_integer_value(which);
    char hash[17];
    if (!json_is_integer(number) || !finish || !request || index < 0 || sample < 0)
        return st_place_fail(at, "not a result of sterna run --batch");
    if ((size_t)index >= jobs->n)
        return st_place_fail(at,
                             "a result of request %" JSON_INTEGER_FORMAT ", but the last one in %s is %zu",
                             index, jobs->path, jobs->n - 1);
    st_job *job = &jobs->job[index];
    if (label || job->label)
        if (!json_equal(label, job->label))
            return st_place_fail(at,
                                 "the result of request %" JSON_INTEGER_FORMAT " has another \"id\" than %s",
                                 index, jobs->path);
    *keep = strcmp(finish, st_finish_name(STERNA_FINISH_STOP)) == 0 ||
            strcmp(finish, st_finish_name(STERNA_FINISH_LENGTH)) == 0;
    if (!*keep)
        return ST_EXIT_OK;
    snprintf(hash, sizeof hash, "%016" PRIx64, job->hash);
    if (strcmp(hash, request) != 0 || sample >= job->request.n_sample)
        return st_place_fail(
            at, "the result of request %" JSON_INTEGER_FORMAT " belongs to another prompt, model or options",
            index);
    return mark_kept(at, job, index, sample);
}

/* ---- the file ---- */

static int take_line(st_earlier *earlier, const st_place *at, st_jobs *jobs, const char *text, size_t size)
{
    json_error_t error;
    size_t first = earlier->size;
    earlier->size += size;
    if (text[size - 1] != '\n') { /* cut off while it was written, if it is ours */
        static const char begin[] = "{\"index\":";
        size_t n = size < sizeof begin - 1 ? size : sizeof begin - 1;
        return memcmp(text, begin, n) == 0
                   ? ST_EXIT_OK
                   : st_place_fail(at, "not a result of sterna run --batch, nor the beginning of one");
    }
    json_t *line = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!line)
        return st_place_fail(at, "not a result of sterna run --batch: invalid JSON at byte %d: %s",
                             error.position, error.text);
    bool keep = false;
    int code = take_result(at, jobs, line, &keep);
    json_decref(line);
    if (code == ST_EXIT_OK && keep && !keep_range(earlier, first, earlier->size))
        code = st_place_fail(at, "out of memory");
    return code;
}

int st_earlier_read(st_earlier *earlier, st_run *run, st_jobs *jobs)
{
    st_place at = {run->params->output, 0};
    struct stat facts;
    int code = st_run_check_output(run);
    if (code != ST_EXIT_OK)
        return code;
    errno = 0;
    FILE *file = fopen(at.path, "rb");
    if (!file && errno == ENOENT)
        return ST_EXIT_OK;
    if (!file)
        return st_cli_fail("run", ST_EXIT_FAILURE, "cannot read %s: %s", at.path, strerror(errno));
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n = 0;
    if (fstat(fileno(file), &facts) != 0 || !S_ISREG(facts.st_mode))
        code = st_cli_fail("run", ST_EXIT_FAILURE, "--resume: %s is not a regular file", at.path);
    while (code == ST_EXIT_OK && (n = getline(&line, &capacity, file)) > 0) {
        at.line++;
        code = take_line(earlier, &at, jobs, line, (size_t)n);
    }
    if (code == ST_EXIT_OK && !feof(file))
        code = st_cli_fail("run", ST_EXIT_FAILURE, "cannot read %s: %s", at.path, strerror(errno));
    free(line);
    fclose(file);
    return code;
}

static bool copy_range(FILE *from, FILE *to, const st_range *range)
{
    char block[1 << 14];
    if (fseeko(from, (off_t)range->first, SEEK_SET) != 0)
        return false;
    for (size_t left = range->end - range->first; left > 0;) {
        size_t n = fread(block, 1, left < sizeof block ? left : sizeof block, from);
        if (n == 0 || fwrite(block, 1, n, to) != n)
            return false;
        left -= n;
    }
    return true;
}

/* Puts a file with what is kept in the place of `path`, or leaves it as it is. False with errno. */
static bool rewrite(const st_earlier *earlier, const char *path, const char *temporary, int fd)
{
    struct stat facts;
    FILE *from = fopen(path, "rb"), *to = fdopen(fd, "wb");
    bool done = from && to && fstat(fileno(from), &facts) == 0 && fchmod(fd, facts.st_mode & 07777) == 0;
    for (size_t i = 0; i < earlier->n_keep && done; i++)
        done = copy_range(from, to, &earlier->keep[i]);
    done = done && fflush(to) == 0 && fsync(fd) == 0;
    int failure = errno;
    if (from)
        fclose(from);
    if (to)
        fclose(to);
    else
        close(fd);
    errno = failure;
    return done && rename(temporary, path) == 0;
}

int st_earlier_open_output(const st_earlier *earlier, st_run *run)
{
    static const char suffix[] = ".XXXXXX";
    const char *output = run->params->output;
    if (st_earlier_is_clean(earlier))
        return st_run_open_output(run, "ab");
    errno = 0;
    char *path = realpath(output, NULL); /* a link stays one */
    char *temporary = path ? malloc(strlen(path) + sizeof suffix) : NULL;
    int fd = -1;
    if (temporary) {
        memcpy(temporary, path, strlen(path));
        memcpy(temporary + strlen(path), suffix, sizeof suffix);
        fd = mkstemp(temporary);
    }
    bool done = fd >= 0 && rewrite(earlier, path, temporary, fd);
    int failure = errno;
    if (fd >= 0 && !done)
        unlink(temporary);
    free(temporary);
    free(path);
    return done ? st_run_open_output(run, "ab")
                : st_cli_fail("run", ST_EXIT_FAILURE, "cannot rewrite %s: %s", output, strerror(failure));
}

void st_earlier_free(st_earlier *earlier)
{
    free(earlier->keep);
    *earlier = (st_earlier){0};
}
