// Streams, events and graphs. A stream is a queue: eager ones run their work at once, lazy ones when somebody
// waits, random ones a piece now and then.
#include "tests/softcuda/driver.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

namespace softcuda
{

std::recursive_mutex &driver_lock()
{
    static std::recursive_mutex mutex;
    return mutex;
}

std::set<CUstream_st *> &streams()
{
    static std::set<CUstream_st *> all;
    return all;
}

static CUstream_st *default_stream()
{
    static CUstream_st stream;
    streams().insert(&stream);
    return &stream;
}

CUstream_st *stream_of(CUstream handle)
{
    bool standard = !handle || handle == CU_STREAM_LEGACY || handle == CU_STREAM_PER_THREAD;
    return standard ? default_stream() : handle;
}

CUresult report(const Fault &fault)
{
    fprintf(stderr, "softcuda: %s\n", fault.message.c_str());
    return current()->error = CUresult(fault.code);
}

static CUstream_st *at_work;

CUstream_st *running_stream()
{
    return at_work;
}

static CUresult run(CUstream_st *stream, const Work &work)
{
    stream->running = true;
    CUstream_st *outer = at_work;
    at_work = stream;
    CUresult result = CUDA_SUCCESS;
    try {
        work();
    } catch (const Fault &fault) {
        result = report(fault);
        stream->overlap = nullptr;
    }
    at_work = outer;
    stream->running = false;
    if (!stream->overlap || stream->overlap->over())
        stream->done = stream->begun;
    return result;
}

static CUresult run_next(CUstream_st *stream)
{
    Work work = std::move(stream->queue.front());
    stream->queue.pop_front();
    stream->begun++;
    return run(stream, work);
}

// Ends the launches that the work at hand must not overlap.
static void settle()
{
    std::shared_ptr<Overlap> overlap = std::move(at_work->overlap);
    if (overlap)
        overlap->finish();
}

// In random mode: pieces of work of any streams, as often as a coin says.
static CUresult wander()
{
    static std::mt19937_64 random(setting(Setting::seed));
    while (setting(Setting::streams) == RANDOM && random() % 2) {
        std::vector<CUstream_st *> ready;
        for (CUstream_st *s : streams())
            if (!s->queue.empty() && !s->running)
                ready.push_back(s);
        if (ready.empty())
            break;
        if (CUresult r = run_next(ready[random() % ready.size()]))
            return r;
    }
    return CUDA_SUCCESS;
}

CUresult drain(CUstream_st *stream, uint64_t mark)
{
    for (;;) {
        if (CUresult r = wander())
            return r;
        if (stream->done >= mark || stream->done == stream->queued || stream->running)
            return CUDA_SUCCESS;
        if (CUresult r = stream->begun >= mark ? run(stream, settle) : run_next(stream))
            return r;
    }
}

CUresult drain_all()
{
    for (CUstream_st *s : streams())
        if (CUresult r = drain(s, s->queued))
            return r;
    return CUDA_SUCCESS;
}

CUresult progress(CUstream_st *stream)
{
    CUresult r = wander();
    if (r || stream->done == stream->queued || stream->running)
        return r;
    return stream->queue.empty() ? run(stream, settle) : run_next(stream);
}

// A piece of work behind what other streams have queued so far.
static Work after(std::vector<std::pair<CUstream_st *, uint64_t>> marks, Work work)
{
    return [marks, work] {
        for (const auto &m : marks)
            if (CUresult r = drain(m.first, m.second))
                throw Fault{int(r), "a stream waited for one that failed"};
        work();
    };
}

CUresult enqueue(CUstream handle, Work work, bool overlaps)
{
    CUstream_st *stream = stream_of(handle);
    if (stream->destroyed)
        return CUDA_ERROR_INVALID_HANDLE;
    if (!overlaps || (stream->capture && stream->capture->last != stream))
        work = [work] {
            settle();
            work();
        };
    if (stream->capture) {
        stream->capture->nodes.push_back(std::move(work));
        stream->capture->last = stream;
        return CUDA_SUCCESS;
    }
    std::vector<std::pair<CUstream_st *, uint64_t>> marks;
    for (CUstream_st *s : streams())
        if ((stream == default_stream() || s == default_stream()) && s->blocking && stream->blocking &&
            s != stream && s->done < s->queued)
            marks.push_back({s, s->queued});
    stream->queue.push_back(marks.empty() ? std::move(work) : after(std::move(marks), std::move(work)));
    stream->queued++;
    if (setting(Setting::streams) != EAGER)
        return wander();
    CUresult r = CUDA_SUCCESS;
    while (!r && !stream->queue.empty() && !stream->running)
        r = run_next(stream);
    return r;
}

} // namespace softcuda

using namespace softcuda;

extern "C" {

CUresult cuStreamCreate(CUstream *stream, unsigned flags)
{
    return guarded([&] {
        *stream = new CUstream_st;
        (*stream)->blocking = !(flags & CU_STREAM_NON_BLOCKING);
        streams().insert(*stream);
        return CUDA_SUCCESS;
    });
}
CUresult cuStreamCreateWithPriority(CUstream *stream, unsigned flags, int)
{
    return cuStreamCreate(stream, flags);
}
CUresult cuStreamDestroy(CUstream stream)
{
    return guarded([&] {
        if (stream->destroyed)
            return CUDA_ERROR_INVALID_HANDLE;
        CUresult result = drain(stream, stream->queued);
        streams().erase(stream);
        stream->destroyed = true; // not deleted: events and work of other streams may still name it
        static std::vector<std::unique_ptr<CUstream_st>> graves;
        graves.emplace_back(stream);
        return result;
    });
}
CUresult cuStreamSynchronize(CUstream stream)
{
    return guarded([&] {
        CUstream_st *s = stream_of(stream);
        return s->capture ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : drain(s, s->queued);
    });
}
CUresult cuStreamQuery(CUstream stream)
{
    return guarded([&] {
        CUstream_st *s = stream_of(stream);
        bool ready = s->done == s->queued;
        CUresult r = progress(s);
        return r || ready ? r : CUDA_ERROR_NOT_READY;
    });
}
CUresult cuCtxSynchronize()
{
    return guarded(drain_all);
}

CUresult cuEventCreate(CUevent *event, unsigned)
{
    return guarded([&] {
        *event = new CUevent_st;
        return CUDA_SUCCESS;
    });
}
CUresult cuEventDestroy(CUevent event)
{
    return guarded([&] {
        CUresult result = event->stream ? drain(event->stream, event->mark) : CUDA_SUCCESS;
        delete event;
        return result;
    });
}
CUresult cuEventRecord(CUevent event, CUstream stream)
{
    return guarded([&] {
        CUstream_st *s = stream_of(stream);
        event->capture = s->capture;
        if (s->capture) {
            s->capture->last = nullptr;
            return CUDA_SUCCESS;
        }
        event->stream = s;
        event->recorded = true;
        event->happened = false;
        event->mark = s->queued + 1;
        return enqueue(stream, [event] {
            event->time = std::chrono::steady_clock::now();
            event->happened = true;
        });
    });
}
CUresult cuEventSynchronize(CUevent event)
{
    return guarded([&] { return event->stream ? drain(event->stream, event->mark) : CUDA_SUCCESS; });
}
CUresult cuEventQuery(CUevent event)
{
    return guarded([&] {
        if (!event->recorded || event->happened)
            return CUDA_SUCCESS;
        CUresult r = progress(event->stream);
        return r ? r : CUDA_ERROR_NOT_READY;
    });
}
CUresult cuEventElapsedTime(float *ms, CUevent start, CUevent end)
{
    return guarded([&] {
        if (!start->recorded || !end->recorded)
            return CUDA_ERROR_INVALID_HANDLE;
        if (!start->happened || !end->happened)
            return CUDA_ERROR_NOT_READY;
        *ms = std::chrono::duration<float, std::milli>(end->time - start->time).count();
        return CUDA_SUCCESS;
    });
}
CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned)
{
    return guarded([&] {
        if (event->capture) { // a fork or join of a capture: nodes run in the order in which they were
                              // captured
            stream_of(stream)->capture = event->capture;
            event->capture->last = nullptr;
            return CUDA_SUCCESS;
        }
        CUstream_st *other = event->stream;
        uint64_t mark = event->mark;
        return other ? enqueue(stream, after({{other, mark}}, [] {})) : CUDA_SUCCESS;
    });
}

CUresult cuStreamBeginCapture(CUstream stream, CUstreamCaptureMode)
{
    return guarded([&] {
        CUstream_st *s = stream_of(stream);
        if (s->capture || !stream)
            return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
        s->capture = new CUgraph_st;
        return CUDA_SUCCESS;
    });
}
CUresult cuStreamEndCapture(CUstream stream, CUgraph *graph)
{
    return guarded([&] {
        *graph = stream_of(stream)->capture;
        for (CUstream_st *s : streams())
            if (*graph && s->capture == *graph)
                s->capture = nullptr;
        return *graph ? CUDA_SUCCESS : CUDA_ERROR_ILLEGAL_STATE;
    });
}
CUresult cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus *status)
{
    return guarded([&] {
        *status =
            stream_of(stream)->capture ? CU_STREAM_CAPTURE_STATUS_ACTIVE : CU_STREAM_CAPTURE_STATUS_NONE;
        return CUDA_SUCCESS;
    });
}
CUresult cuGraphInstantiateWithFlags(CUgraphExec *exec, CUgraph graph, unsigned long long)
{
    return guarded([&] {
        *exec = new CUgraphExec_st{graph->nodes};
        return CUDA_SUCCESS;
    });
}
CUresult cuGraphLaunch(CUgraphExec exec, CUstream stream)
{
    return guarded([&] {
        std::vector<Work> nodes = exec->nodes;
        return enqueue(stream, [nodes] {
            for (const Work &node : nodes)
                node();
            settle();
        });
    });
}
CUresult cuGraphDestroy(CUgraph graph)
{
    return guarded([&] {
        delete graph;
        return CUDA_SUCCESS;
    });
}
CUresult cuGraphExecDestroy(CUgraphExec exec)
{
    return guarded([&] {
        delete exec;
        return CUDA_SUCCESS;
    });
}

} // extern "C"

// The header names the newest version of an entry point; callers may load the first one by its plain name.
#undef cuEventElapsedTime
extern "C" CUresult cuEventElapsedTime(float *ms, CUevent start, CUevent end)
{
    return cuEventElapsedTime_v2(ms, start, end);
}
