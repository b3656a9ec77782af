#include "tests/softcuda/settings.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace softcuda
{

namespace
{

struct Variable {
    const char *name;
    uint64_t otherwise, least, most;
    const char *const *words; // that stand for 0, 1 ...; else a number
};

const char *const STREAM_MODES[] = {"eager", "lazy", "random", nullptr};
const char *const STATISTICS_MODES[] = {"none", "table", "json", nullptr};

// In the order of Setting.
const Variable VARIABLES[] = {{"SOFTCUDA_ARCH", 80, 75, 120, nullptr},
                              {"SOFTCUDA_DEVICES", 1, 0, 16, nullptr},
                              {"SOFTCUDA_SMS", 2, 1, 1024, nullptr},
                              {"SOFTCUDA_MEMORY", uint64_t(8) << 30, 0, UINT64_MAX, nullptr},
                              {"SOFTCUDA_FAIL_ALLOC", 0, 0, UINT64_MAX, nullptr},
                              {"SOFTCUDA_DRIVER_VERSION", 13000, 1000, 99990, nullptr},
                              {"SOFTCUDA_CHECK", 0, 0, 2, nullptr},
                              {"SOFTCUDA_SEED", 1, 0, UINT64_MAX, nullptr},
                              {"SOFTCUDA_STREAMS", 0, 0, 2, STREAM_MODES},
                              {"SOFTCUDA_APPROX", 0, 0, UINT64_MAX, nullptr},
                              {"SOFTCUDA_STATS", 0, 0, 2, STATISTICS_MODES}};
const uint64_t ARCHITECTURES[] = {75, 80, 86, 89, 90, 100, 120};

// False if the text is nothing that the variable may be.
bool read(const Variable &variable, uint64_t *value)
{
    const char *text = getenv(variable.name);
    *value = variable.otherwise;
    if (!text || !*text)
        return true;
    for (int i = 0; variable.words && variable.words[i]; i++)
        if (strcmp(text, variable.words[i]) == 0) {
            *value = uint64_t(i);
            return true;
        }
    if (variable.words)
        return false;
    char *end;
    *value = strtoull(text, &end, 0);
    return *end == '\0' && *text != '-' && *value >= variable.least && *value <= variable.most;
}

bool is_known(uint64_t arch)
{
    for (uint64_t a : ARCHITECTURES)
        if (a == arch)
            return true;
    return false;
}

} // namespace

uint64_t setting(Setting which)
{
    uint64_t value;
    read(VARIABLES[int(which)], &value);
    return value;
}

int visible_devices()
{
    const char *list = getenv("CUDA_VISIBLE_DEVICES");
    const unsigned long there = setting(Setting::devices);
    if (!list)
        return int(there);
    int count = 0;
    for (char *end; *list; list = *end ? end + 1 : end) {
        unsigned long device = strtoul(list, &end, 10);
        if (end == list || (*end && *end != ',') || device >= there)
            break;
        count++;
    }
    return count;
}

bool settings_are_good()
{
    bool good = true;
    for (const Variable &variable : VARIABLES) {
        uint64_t value;
        bool known = read(variable, &value) && (&variable != VARIABLES || is_known(value));
        if (known)
            continue;
        good = false;
        if (&variable == VARIABLES)
            fprintf(stderr, "softcuda: %s is '%s', not 75, 80, 86, 89, 90, 100 or 120\n", variable.name,
                    getenv(variable.name));
        else if (variable.words)
            fprintf(stderr, "softcuda: %s is '%s', not %s, %s or %s\n", variable.name, getenv(variable.name),
                    variable.words[0], variable.words[1], variable.words[2]);
        else
            fprintf(stderr, "softcuda: %s is '%s', not a number of %llu ... %llu\n", variable.name,
                    getenv(variable.name), (unsigned long long)variable.least,
                    (unsigned long long)variable.most);
    }
    return good;
}

} // namespace softcuda
