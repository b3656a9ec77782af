/* Compiled pipelines on disk, in the user's cache folder: one file for each device, driver and set of
 * shaders. A file that is not what was written, whole, is ignored: drivers trust what they are given. */
#include "vulkan/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_PATH = 1024 };
#define MAX_BYTES ((size_t)256 << 20)

typedef struct header {
    char magic[8];
    uint64_t key, bytes, hash; /* of what follows */
} header;

static const char magic[8] = "STVKPC1";

static uint64_t cache_key(const st_vulkan *v)
{
    uint64_t key = st_hash(ST_HASH_SEED, v->cache_id, sizeof v->cache_id);
    key = st_hash(key, &v->driver_version, sizeof v->driver_version);
    for (int i = 0; i < ST_VULKAN_N_SHADER; i++)
        key = st_hash(key, st_vulkan_codes[i].words, st_vulkan_codes[i].bytes);
    return key;
}

/* The file's path, and its folders made if asked for. False if there is no place for it. */
static bool cache_path(uint64_t key, bool make, char path[MAX_PATH])
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char folder[MAX_PATH - 64];
    int length = 0;
    if (cache && cache[0] == '/')
        length = snprintf(folder, sizeof folder, "%s", cache);
    else if (home && home[0] == '/')
        length = snprintf(folder, sizeof folder, "%s/.cache", home);
    if (length <= 0 || (size_t)length >= sizeof folder)
        return false;
    if (make)
        mkdir(folder, 0700);
    snprintf(path, MAX_PATH, "%s/sterna", folder);
    if (make)
        mkdir(path, 0700); /* if neither can be made, opening the file fails */
    snprintf(path, MAX_PATH, "%s/sterna/vulkan-%016llx", folder, (unsigned long long)key);
    return true;
}

/* What the file holds, or NULL. */
static void *load(const char *path, uint64_t key, size_t *bytes)
{
    header h;
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    void *data = NULL;
    if (fread(&h, sizeof h, 1, file) == 1 && memcmp(h.magic, magic, sizeof magic) == 0 && h.key == key &&
        h.bytes > 0 && h.bytes <= MAX_BYTES)
        data = st_alloc((size_t)h.bytes);
    if (data && (fread(data, 1, (size_t)h.bytes, file) != h.bytes || fgetc(file) != EOF ||
                 st_hash(ST_HASH_SEED, data, (size_t)h.bytes) != h.hash)) {
        st_free(data);
        data = NULL;
    }
    fclose(file);
    *bytes = data ? (size_t)h.bytes : 0;
    return data;
}

/* Under another name first, so that nobody reads half of it. */
static void save(const char *path, uint64_t key, const void *data, size_t bytes)
{
    char part[MAX_PATH + 16];
    snprintf(part, sizeof part, "%s.%ld", path, (long)getpid());
    FILE *file = fopen(part, "wb");
    if (!file)
        return;
    header h = {.key = key, .bytes = bytes, .hash = st_hash(ST_HASH_SEED, data, bytes)};
    memcpy(h.magic, magic, sizeof magic);
    bool written = fwrite(&h, sizeof h, 1, file) == 1 && fwrite(data, 1, bytes, file) == bytes;
    written = fclose(file) == 0 && written;
    if (!written || rename(part, path) != 0)
        remove(part);
}

void st_vulkan_cache_open(st_vulkan *v)
{
    char path[MAX_PATH];
    uint64_t key = cache_key(v);
    size_t bytes = 0;
    void *data = cache_path(key, false, path) ? load(path, key, &bytes) : NULL;
    VkPipelineCacheCreateInfo info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO,
                                      .initialDataSize = bytes,
                                      .pInitialData = data};
    /* Without a cache pipelines are only made more slowly. */
    if (v->vk.CreatePipelineCache(v->device, &info, NULL, &v->cache) != VK_SUCCESS)
        v->cache = VK_NULL_HANDLE;
    v->cache_bytes = bytes;
    st_free(data);
}

void st_vulkan_cache_close(st_vulkan *v)
{
    char path[MAX_PATH];
    uint64_t key = cache_key(v);
    size_t bytes = 0;
    if (!v->cache)
        return;
    if (v->failure.status == STERNA_OK && v->n_pipeline > 0 &&
        v->vk.GetPipelineCacheData(v->device, v->cache, &bytes, NULL) == VK_SUCCESS &&
        bytes != v->cache_bytes && bytes <= MAX_BYTES && cache_path(key, true, path)) {
        void *data = st_alloc(bytes);
        if (data && v->vk.GetPipelineCacheData(v->device, v->cache, &bytes, data) == VK_SUCCESS)
            save(path, key, data, bytes);
        st_free(data);
    }
    v->vk.DestroyPipelineCache(v->device, v->cache, NULL);
}
