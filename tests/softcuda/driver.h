/* What the entry points share: devices, the one context of each, streams as queues of work. */
#ifndef SOFTCUDA_DRIVER_H
#define SOFTCUDA_DRIVER_H

#include "tests/softcuda/fatbin.h"
#include "tests/softcuda/overlap.h"
#include "tests/softcuda/settings.h"

#include <chrono>
#include <cuda.h>
#include <functional>
#include <set>

using Work = std::function<void()>; /* throws softcuda::Fault */

struct CUctx_st {
    int device = 0, users = 0;
    CUresult error = CUDA_SUCCESS; /* sticks, as on a card */
};
struct CUgraph_st {
    std::vector<Work> nodes;
    CUstream_st *last = nullptr; /* whose work is the last node, with no event between it and the next one */
};
struct CUgraphExec_st {
    std::vector<Work> nodes;
};
struct CUstream_st {
    std::deque<Work> queue;
    uint64_t queued = 0, begun = 0, done = 0;
    CUgraph_st *capture = nullptr;
    bool blocking = true; /* waits for the default stream, which waits for it */
    bool running = false; /* its work at hand waits for other streams */
    bool destroyed = false;
    std::shared_ptr<softcuda::Overlap> overlap; /* the launches since anything else, in check mode */
};
struct CUevent_st {
    CUstream_st *stream = nullptr;
    uint64_t mark = 0;
    CUgraph_st *capture = nullptr;
    bool recorded = false, happened = false;
    std::chrono::steady_clock::time_point time;
};
struct CUmod_st {
    std::unique_ptr<softcuda::Module> module;
};

namespace softcuda
{

/* All entry points hold this lock: the product calls from one thread, and others only wait. */
std::recursive_mutex &driver_lock();
CUstream_st *stream_of(CUstream); /* null and the legacy handles are the default stream */
std::set<CUstream_st *> &streams();
CUctx_st *current();
CUresult load(const void *image, CUmod_st **);
CUresult report(const Fault &); /* one line to stderr; the context keeps the error */
/* Captured, run at once, or kept until somebody waits. It begins when all is over that is in front of it in
   its stream, or overlaps the launches there. */
CUresult enqueue(CUstream, Work, bool overlaps = false);
CUresult drain(CUstream_st *, uint64_t mark); /* runs what was queued up to the mark */
CUresult drain_all();
CUresult progress(CUstream_st *); /* somebody asks whether it is done: that may not last forever */
/* Whose work runs. */
CUstream_st *running_stream();
int arch();

/* Runs the body with the lock and a context without error. */
template <class F> CUresult guarded(F body)
{
    std::lock_guard<std::recursive_mutex> lock(driver_lock());
    CUctx_st *context = current();
    if (!context)
        return CUDA_ERROR_INVALID_CONTEXT;
    return context->error != CUDA_SUCCESS ? context->error : body();
}

} // namespace softcuda
#endif
