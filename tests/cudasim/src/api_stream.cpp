// cuStream*, cuEvent* and cuGraph*.
#include <utility>

#include "simulator.h"

using namespace cudasim;

CUDASIM_API Result cuStreamCreate(Handle* handle, unsigned flags) {
  return call("cuStreamCreate", [&](Simulator& simulated) {
    if (flags != kStreamNonBlocking) {
      throw Error(code::kNotSupported, "only non-blocking streams are simulated");
    }
    *handle = simulated.streams.add(
        std::make_shared<Stream>(Stream{simulated.current(), nullptr, nullptr}));
  });
}
CUDASIM_API Result cuStreamDestroy_v2(Handle handle) {
  return call("cuStreamDestroy", [&](Simulator& simulated) { simulated.streams.remove(handle); });
}
CUDASIM_API Result cuStreamSynchronize(Handle handle) {
  return call("cuStreamSynchronize", [&](Simulator& simulated) {
    const auto stream = simulated.stream(handle);
    refuse_in_capture(*stream, code::kCaptureUnsupported, "the stream captures");
    simulated.queue.finish(stream->last);
  });
}
CUDASIM_API Result cuStreamWaitEvent(Handle handle, Handle event, unsigned flags) {
  return call("cuStreamWaitEvent", [&](Simulator& simulated) {
    if (flags != 0) throw Error(code::kInvalidValue, "unknown flags");
    const auto stream = simulated.stream(handle);
    const auto recorded = simulated.events.at(event)->recorded;
    if (!recorded) return;
    refuse_in_capture(
        *stream, code::kCaptureIsolation, "the event was recorded outside the capture");
    simulated.enqueue(*stream, {"cuStreamWaitEvent", nullptr}, {recorded});
  });
}

CUDASIM_API Result cuEventCreate(Handle* handle, unsigned) {
  return call("cuEventCreate", [&](Simulator& simulated) {
    *handle = simulated.events.add(std::make_shared<Event>(Event{simulated.current(), nullptr}));
  });
}
CUDASIM_API Result cuEventDestroy_v2(Handle handle) {
  return call("cuEventDestroy", [&](Simulator& simulated) { simulated.events.remove(handle); });
}
CUDASIM_API Result cuEventRecord(Handle handle, Handle stream_handle) {
  return call("cuEventRecord", [&](Simulator& simulated) {
    const auto event = simulated.events.at(handle);
    const auto stream = simulated.stream(stream_handle);
    if (event->context != stream->context) {
      throw Error(code::kInvalidHandle, "the event and the stream are of different contexts");
    }
    refuse_in_capture(*stream, code::kNotSupported, "events in a capture are not simulated");
    event->recorded = simulated.enqueue(*stream, {"cuEventRecord", nullptr});
  });
}
CUDASIM_API Result cuEventSynchronize(Handle handle) {
  return call("cuEventSynchronize", [&](Simulator& simulated) {
    simulated.queue.finish(simulated.events.at(handle)->recorded);
  });
}
CUDASIM_API Result cuEventQuery(Handle handle) {
  return call("cuEventQuery", [&](Simulator& simulated) {
    if (!simulated.queue.poll(simulated.events.at(handle)->recorded)) throw Error(code::kNotReady);
  });
}

CUDASIM_API Result cuStreamBeginCapture_v2(Handle handle, int mode) {
  return call("cuStreamBeginCapture", [&](Simulator& simulated) {
    if (mode != kCaptureThreadLocal) {
      throw Error(code::kNotSupported, "only thread-local captures are simulated");
    }
    if (handle == kNullStream) {
      throw Error(code::kCaptureUnsupported, "the default stream cannot capture");
    }
    const auto stream = simulated.stream(handle);
    if (stream->capture) throw Error(code::kCaptureUnmatched, "the stream captures already");
    stream->capture = std::make_shared<Capture>(Capture{std::this_thread::get_id(), false, {}});
  });
}
CUDASIM_API Result cuStreamEndCapture(Handle handle, Handle* graph) {
  return call("cuStreamEndCapture", [&](Simulator& simulated) {
    *graph = 0;
    const auto capture = std::exchange(simulated.stream(handle)->capture, nullptr);
    if (!capture) throw Error(code::kCaptureUnmatched, "the stream captures nothing");
    if (capture->invalidated) {
      throw Error(code::kCaptureInvalidated, "an earlier call invalidated the capture");
    }
    *graph = simulated.graphs.add(std::make_shared<Graph>(Graph{std::move(capture->nodes)}));
  });
}
CUDASIM_API Result cuGraphDestroy(Handle graph) {
  return call("cuGraphDestroy", [&](Simulator& simulated) { simulated.graphs.remove(graph); });
}
CUDASIM_API Result cuGraphInstantiateWithFlags(Handle* out, Handle graph, unsigned long long) {
  return call("cuGraphInstantiate", [&](Simulator& simulated) {
    *out = simulated.graph_execs.add(std::make_shared<GraphExec>(
        GraphExec{simulated.current(), simulated.graphs.at(graph)->nodes, nullptr}));
  });
}
CUDASIM_API Result cuGraphLaunch(Handle handle, Handle stream_handle) {
  return call("cuGraphLaunch", [&](Simulator& simulated) {
    const auto graph = simulated.graph_execs.at(handle);
    const auto stream = simulated.stream(stream_handle);
    refuse_in_capture(*stream, code::kNotSupported, "graphs in graphs are not simulated");
    simulated.enqueue(*stream, {"graph begins", nullptr}, {graph->last});
    for (Work work : graph->nodes) {
      work.name += " (in a graph)";
      simulated.enqueue(*stream, std::move(work));
    }
    graph->last = stream->last;
  });
}
CUDASIM_API Result cuGraphExecDestroy(Handle exec) {
  return call("cuGraphExecDestroy",
              [&](Simulator& simulated) { simulated.graph_execs.remove(exec); });
}
