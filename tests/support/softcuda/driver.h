// The software CUDA driver as the suites call it: entry points by hand, since a test needs no more than
// these.
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef void *handle;

// CUlaunchConfig and CUlaunchAttribute.
enum { PROGRAMMATIC_STREAM_SERIALIZATION = 6 };
struct launch_attribute {
    int id, unused, value, padding[15];
};
struct launch_config {
    unsigned grid[3], block[3], shared;
    handle stream;
    struct launch_attribute *attributes;
    unsigned attribute_count;
};

// cuInit without its prefix is cu.init and so on; results are CUresults.
extern struct driver_calls {
    int (*init)(unsigned);
    int (*retain)(handle *, int);
    int (*release)(int);
    int (*set_current)(handle);
    int (*load)(handle *, const void *);
    int (*function)(handle *, handle, const char *);
    int (*alloc)(uint64_t *, size_t);
    int (*release_memory)(uint64_t);
    int (*upload)(uint64_t, const void *, size_t);
    int (*upload_async)(uint64_t, const void *, size_t, handle);
    int (*download)(void *, uint64_t, size_t);
    int (*download_async)(void *, uint64_t, size_t, handle);
    int (*fill)(uint64_t, unsigned, size_t);
    int (*synchronize)(void);
    int (*stream)(handle *, unsigned);
    int (*stream_synchronize)(handle);
    int (*event)(handle *, unsigned);
    int (*record)(handle, handle);
    int (*query)(handle); // of an event
    int (*wait)(handle, handle, unsigned);
    int (*begin)(handle, int);
    int (*end)(handle, handle *);
    int (*instantiate)(handle *, handle, unsigned long long);
    int (*replay)(handle, handle);
    int (*launch)(handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, handle,
                  void **, void **);
    int (*load_library)(handle *, const void *, void *, void *, unsigned, void *, void *, unsigned);
    int (*library_kernel)(handle *, handle, const char *);
    int (*kernel_function)(handle *, handle);
    int (*parameter)(handle, size_t, size_t *, size_t *);
    int (*address)(const char *, void **, int, uint64_t, int *);
    int (*launch_with)(const struct launch_config *, handle, void **, void **);
} cu;

// Loads the library and makes the context of device 0 current; the library's handle.
void *open_driver(void);
// The fat binary of tests/softcuda/kernels/<image>.cu, until the next one is read.
const void *read_image(const char *image);
// A kernel of it.
handle kernel(const char *image, const char *name);
// Filled from the array, or with zeros.
uint64_t device_array(const void *from, size_t bytes);
// What the library writes to stderr meanwhile.
void capture_stderr(void (*body)(void), char *text, size_t size);
// The next of a fixed sequence.
uint32_t random_word(void);
