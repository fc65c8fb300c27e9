// cuStreamBeginCapture and its like, cuGraph*.
#include "simulator.h"

using namespace cudasim;

CUDASIM_API Result cuStreamBeginCapture_v2(Handle handle, CaptureMode mode) {
  return call("cuStreamBeginCapture", [&](Simulator& simulated) {
    if (handle == kNullStream || handle == kLegacyStream) {
      throw Error(code::kCaptureUnsupported, "the default stream cannot capture");
    }
    begin_capture(*simulated.stream(handle), mode);
  });
}
CUDASIM_API Result cuStreamEndCapture(Handle handle, Handle* graph) {
  return call("cuStreamEndCapture", [&](Simulator& simulated) {
    *graph = 0;
    *graph = simulated.graphs.add(end_capture(*simulated.stream(handle)));
  });
}
CUDASIM_API Result cuStreamIsCapturing(Handle handle, CaptureStatus* status) {
  return call("cuStreamIsCapturing", [&](Simulator& simulated) {
    const auto& capture = simulated.stream(handle)->capture;
    *status = !capture               ? kCaptureNone
              : capture->invalidated ? kCaptureWasInvalidated
                                     : kCaptureActive;
  });
}

CUDASIM_API Result cuGraphCreate(Handle* graph, unsigned) {
  return call("cuGraphCreate", [&](Simulator& simulated) {
    *graph = simulated.graphs.add(std::make_shared<Graph>());
  });
}
CUDASIM_API Result cuGraphDestroy(Handle graph) {
  return call("cuGraphDestroy", [&](Simulator& simulated) { simulated.graphs.remove(graph); });
}
CUDASIM_API Result cuGraphGetNodes(Handle graph, Handle* nodes, std::size_t* count) {
  return call("cuGraphGetNodes", [&](Simulator& simulated) {
    if (nodes != nullptr) throw Error(code::kNotSupported, "only the number of nodes is simulated");
    *count = simulated.graphs.at(graph)->nodes.size();
  });
}
CUDASIM_API Result cuGraphInstantiateWithFlags(Handle* out,
                                               Handle graph,
                                               unsigned long long flags) {
  return call("cuGraphInstantiate", [&](Simulator& simulated) {
    if (flags != 0) throw Error(code::kNotSupported, "no flags are simulated");
    auto exec = std::make_shared<GraphExec>();
    exec->context = simulated.current();
    exec->nodes = simulated.graphs.at(graph)->nodes;
    *out = simulated.graph_execs.add(exec);
  });
}
CUDASIM_API Result cuGraphUpload(Handle exec, Handle stream) {
  return call("cuGraphUpload", [&](Simulator& simulated) {
    simulated.graph_execs.at(exec);
    simulated.stream(stream);
  });
}
CUDASIM_API Result cuGraphLaunch(Handle exec, Handle stream) {
  return call("cuGraphLaunch", [&](Simulator& simulated) {
    launch(*simulated.graph_execs.at(exec), *simulated.stream(stream));
  });
}
CUDASIM_API Result cuGraphExecDestroy(Handle exec) {
  return call("cuGraphExecDestroy",
              [&](Simulator& simulated) { simulated.graph_execs.remove(exec); });
}
