/* Which backends this build has, and choosing a device by name. The only place with #if on a backend's
 * presence. */
#include "host/backend/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Best first for "auto". */
static const st_backend *const backends[] = {
#if STERNA_HAVE_CUDA
    &st_backend_cuda,
#endif
#if STERNA_HAVE_VULKAN
    &st_backend_vulkan,
#endif
    &st_backend_cpu, &st_backend_ref, NULL};

/* Backends that were left out of this build, and why. */
static const struct {
    const char *name, *why;
} absent[] = {
#if !STERNA_HAVE_CUDA
    {"cuda", "not in this build: " STERNA_MISSING_CUDA},
#endif
#if !STERNA_HAVE_VULKAN
    {"vulkan", "not in this build: " STERNA_MISSING_VULKAN},
#endif
    {NULL, NULL}};

static void unavailable(const char *name, const char *why, sterna_device_info *info)
{
    *info = (sterna_device_info){.available = false};
    snprintf(info->name, sizeof info->name, "%s", name);
    snprintf(info->description, sizeof info->description, "%s", why ? why : "no device found");
}

int st_device_list(int index, sterna_device_info *info)
{
    int n = 0;
    for (const st_backend *const *b = backends; *b; b++) {
        const char *why = NULL;
        int count = (*b)->count(&why);
        if (index >= n && index < n + count) {
            (*b)->info(index - n, info);
            info->available = true;
        } else if (count == 0 && index == n) {
            unavailable((*b)->name, why, info);
        }
        n += count > 0 ? count : 1;
    }
    for (int i = 0; absent[i].name; i++, n++)
        if (index == n)
            unavailable(absent[i].name, absent[i].why, info);
    return n;
}

static const char *const op_names[ST_OP_COUNT] = {"embed",      "norm",   "norm_quant",     "linear",
                                                  "rope_store", "attend", "glu_norm_quant", "topk"};

const char *st_op_name(st_op op)
{
    return op_names[op];
}

st_op st_op_by_name(const char *name)
{
    int op = 0;
    while (op < ST_OP_COUNT && strcmp(op_names[op], name) != 0)
        op++;
    return (st_op)op;
}

/* "auto": the first backend with a device that is not a software driver. */
static sterna_status choose_auto(const st_backend **backend, int *index, sterna_error *error)
{
    for (const st_backend *const *b = backends; *b; b++) {
        const char *why = NULL;
        int count = (*b)->count(&why);
        for (int i = 0; i < count; i++) {
            sterna_device_info info = {.software = false};
            (*b)->info(i, &info);
            if (!info.software) {
                *backend = *b;
                *index = i;
                return STERNA_OK;
            }
        }
    }
    return st_fail(error, STERNA_E_DEVICE, "no usable device was found");
}

/* "NAME" or "NAME:INDEX". */
static sterna_status choose_named(const char *name, const st_backend **backend, int *index,
                                  sterna_error *error)
{
    const char *colon = strchr(name, ':');
    size_t length = colon ? (size_t)(colon - name) : strlen(name);
    long wanted = 0;
    if (colon) {
        char *end;
        wanted = strtol(colon + 1, &end, 10);
        if (end == colon + 1 || *end || wanted < 0 || wanted > 255)
            return st_fail(error, STERNA_E_ARGUMENT, "device '%s': '%s' is not a device number", name,
                           colon + 1);
    }
    for (const st_backend *const *b = backends; *b; b++) {
        if (strlen((*b)->name) != length || strncmp((*b)->name, name, length) != 0)
            continue;
        const char *why = NULL;
        int count = (*b)->count(&why);
        if (count == 0)
            return st_fail(error, STERNA_E_DEVICE, "device '%s' is not available: %s", name,
                           why ? why : "no device found");
        if (wanted >= count)
            return st_fail(error, STERNA_E_DEVICE, "device '%s': this machine has %d %s device%s", name,
                           count, (*b)->name, count == 1 ? "" : "s");
        *backend = *b;
        *index = (int)wanted;
        return STERNA_OK;
    }
    for (int i = 0; absent[i].name; i++)
        if (strlen(absent[i].name) == length && strncmp(absent[i].name, name, length) == 0)
            return st_fail(error, STERNA_E_DEVICE, "device '%s' is not available: %s", name, absent[i].why);
    return st_fail(error, STERNA_E_ARGUMENT,
                   "unknown device '%s' (known: auto, cpu, ref, cuda[:N], vulkan[:N])", name);
}

sterna_status st_device_open(const char *name, const st_device_params *params, st_device **dev,
                             sterna_error *error)
{
    const st_backend *backend = NULL;
    int index = 0;
    bool automatic = strcmp(name, "auto") == 0;
    sterna_status status =
        automatic ? choose_auto(&backend, &index, error) : choose_named(name, &backend, &index, error);
    if (status != STERNA_OK)
        return status;
    if (params->n_thread < 0 || params->n_thread > ST_MAX_THREAD)
        return st_fail(error, STERNA_E_ARGUMENT,
                       "%d threads asked for (allowed: 0 = physical cores, 1 ... %d)", params->n_thread,
                       ST_MAX_THREAD);
    st_device *inner = NULL;
    status = backend->open(index, params, &inner, error);
    if (status != STERNA_OK || !params->check) {
        *dev = inner;
        return status;
    }
    status = st_checked_open(inner, params, dev, error);
    if (status != STERNA_OK)
        st_device_close(&inner);
    return status;
}

void st_device_close(st_device **dev)
{
    if (*dev)
        (*dev)->backend->close(*dev);
    *dev = NULL;
}
