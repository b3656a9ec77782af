// What the environment says of the device. Read at each use, so that a test may change it.
#pragma once

#include <cstdint>

namespace softcuda
{

enum class Setting {
    arch,           // SOFTCUDA_ARCH: 75, 80, 86, 89, 90, 100 or 120
    devices,        // SOFTCUDA_DEVICES: how many there are, 0 ... 16; CUDA_VISIBLE_DEVICES selects among them
    sms,            // SOFTCUDA_SMS: multiprocessors
    memory,         // SOFTCUDA_MEMORY: bytes
    fail_alloc,     // SOFTCUDA_FAIL_ALLOC: number of the allocation that fails, from 1; 0 = none
    driver_version, // SOFTCUDA_DRIVER_VERSION: 13000 = 13.0
    check,          // SOFTCUDA_CHECK: 1 = blocks in a seeded order, and reports; 2 = but none of races
    seed,           // SOFTCUDA_SEED: of that order, and of random streams
    streams,        // SOFTCUDA_STREAMS: when work runs, a StreamMode by its name
    approx,         // SOFTCUDA_APPROX: 0 = nearest results of .approx, else the seed of allowed ones
    statistics      // SOFTCUDA_STATS: none; table or json to stderr at the context's or process's end
};

// When it is enqueued; when somebody waits; or in between, of all streams in a seeded order.
enum StreamMode { EAGER, LAZY, RANDOM };
enum StatisticsMode { NO_STATISTICS, TABLE, JSON };

uint64_t setting(Setting which);
// Devices that CUDA_VISIBLE_DEVICES leaves: those of its list up to the first that there is not; all without
// it.
int visible_devices();
// One line to stderr for each variable that is not as above; true if there is none.
bool settings_are_good();

} // namespace softcuda
