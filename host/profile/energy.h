/* Energy that the processor's own counters tell: Linux powercap zones (Intel RAPL; AMD has the same). They
 * count whole packages, whatever runs there, in steps of about a millisecond. */
#ifndef ST_ENERGY_H
#define ST_ENERGY_H

#include "host/base/base.h"

#define ST_ENERGY_FOLDER "/sys/class/powercap"
enum { ST_ENERGY_MAX_ZONE = 64, ST_ENERGY_MAX_PATH = 512 };

typedef struct st_energy_zone {
    char path[ST_ENERGY_MAX_PATH]; /* of its energy_uj */
    bool dram;                     /* memory; else a package */
    uint64_t range;                /* microjoules at which the counter starts again from 0 */
    uint64_t last;                 /* value at the last look */
} st_energy_zone;

typedef struct st_energy {
    int n_zone;
    st_energy_zone zone[ST_ENERGY_MAX_ZONE];
    int n_package, n_dram;
    uint64_t package, dram; /* microjoules since st_energy_open */
    char why_not[256];      /* why there are no figures, or "" */
} st_energy;

/* Looks for package and memory zones under `folder`. Without any that can be read, why_not says why. */
void st_energy_open(st_energy *energy, const char *folder);
/* Takes a look: adds what was used since the last one. A counter may wrap once between two looks (after about
 * 40 minutes at 100 W). Does nothing once why_not is set. */
void st_energy_look(st_energy *energy);

#endif
