#include "host/profile/energy.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reads the first line of folder/zone/name. Returns 0, or an errno. */
static int read_line(const char *folder, const char *zone, const char *name, char *line, int size)
{
    char path[ST_ENERGY_MAX_PATH];
    if (snprintf(path, sizeof path, "%s/%s/%s", folder, zone, name) >= (int)sizeof path)
        return ENAMETOOLONG;
    FILE *file = fopen(path, "r");
    if (!file)
        return errno;
    errno = 0;
    bool good = fgets(line, size, file) != NULL;
    int failure = errno ? errno : EIO;
    fclose(file);
    line[good ? strcspn(line, "\n") : 0] = 0;
    return good ? 0 : failure;
}

static int read_number(const char *folder, const char *zone, const char *name, uint64_t *value)
{
    char line[64], *end;
    int failure = read_line(folder, zone, name, line, sizeof line);
    if (failure)
        return failure;
    *value = strtoull(line, &end, 10);
    return end == line || *end ? EINVAL : 0;
}

/* Packages and memory; cores and graphics are parts of a package, "psys" contains them all. */
static bool wanted(const char *name, bool *dram)
{
    *dram = strcmp(name, "dram") == 0;
    return *dram || strncmp(name, "package", 7) == 0;
}

/* Adds a zone of the folder if it is one of ours; `failure` remembers the first that cannot be read. */
static void add_zone(st_energy *e, const char *folder, const char *zone, int *failure, char *failed)
{
    char name[64];
    bool dram;
    /* The same packages may be there a second time, through memory-mapped registers: intel-rapl-mmio. */
    if (strncmp(zone, "intel-rapl:", 11) != 0 || read_line(folder, zone, "name", name, sizeof name) != 0 ||
        !wanted(name, &dram) || e->n_zone == ST_ENERGY_MAX_ZONE)
        return;
    st_energy_zone *z = &e->zone[e->n_zone];
    *z = (st_energy_zone){.dram = dram};
    int why = read_number(folder, zone, "energy_uj", &z->last);
    if (!why)
        why = read_number(folder, zone, "max_energy_range_uj", &z->range);
    if (!why && snprintf(z->path, sizeof z->path, "%s/%s", folder, zone) >= (int)sizeof z->path)
        why = ENAMETOOLONG;
    if (why) {
        if (!*failure)
            snprintf(failed, 64, "%.63s", zone);
        *failure = *failure ? *failure : why;
        return;
    }
    e->n_zone++;
    *(dram ? &e->n_dram : &e->n_package) += 1;
}

void st_energy_open(st_energy *e, const char *folder)
{
    *e = (st_energy){0};
    DIR *list = opendir(folder);
    if (!list) {
        snprintf(e->why_not, sizeof e->why_not,
                 "no energy counters: %s: %s (not Linux on bare metal, or the kernel has no powercap driver)",
                 folder, strerror(errno));
        return;
    }
    int failure = 0;
    char failed[64] = "";
    for (const struct dirent *entry; (entry = readdir(list));)
        add_zone(e, folder, entry->d_name, &failure, failed);
    closedir(list);
    if (failure) /* a part of the packages would pass for all of them */
        snprintf(e->why_not, sizeof e->why_not, "no energy counters: %s/%s/energy_uj: %s%s", folder, failed,
                 strerror(failure),
                 failure == EACCES || failure == EPERM ? " (reading it takes root, or a chmod by root)" : "");
    else if (e->n_package == 0)
        snprintf(e->why_not, sizeof e->why_not,
                 "no energy counters: %s has no intel-rapl zone named package-*", folder);
}

void st_energy_look(st_energy *e)
{
    for (int i = 0; i < e->n_zone && !e->why_not[0]; i++) {
        st_energy_zone *z = &e->zone[i];
        uint64_t now = 0;
        int failure = read_number(z->path, ".", "energy_uj", &now);
        if (failure) {
            snprintf(e->why_not, sizeof e->why_not, "no energy counters: %.150s/energy_uj: %s", z->path,
                     strerror(failure));
            return;
        }
        /* The counter runs from 0 to `range`, and then from 0 again. */
        uint64_t used = now >= z->last ? now - z->last : z->range - z->last + now;
        *(z->dram ? &e->dram : &e->package) += used;
        z->last = now;
    }
}
