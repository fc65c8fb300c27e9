// cuStream* and cuEvent*.
#include <chrono>

#include "simulator.h"

using namespace cudasim;

namespace {

Result create_stream(const char* name, Handle* out, unsigned flags, int priority) {
  return call(name, [&](Simulator& simulated) {
    if ((flags & ~kStreamNonBlocking) != 0) throw Error(code::kInvalidValue, "unknown flags");
    auto stream = std::make_shared<Stream>();
    stream->context = simulated.current();
    stream->flags = flags;
    stream->priority = priority;
    *out = simulated.streams.add(stream);
  });
}

std::shared_ptr<Event> event_of(Simulator& simulated, Handle handle) {
  return simulated.events.at(handle);
}

/// A stream that is recorded cannot be waited for.
void refuse_while_captured(Stream& stream) {
  if (!stream.capture) return;
  stream.capture->invalidated = true;
  throw Error(code::kCaptureUnsupported, "the stream captures");
}

void refuse_captured(const Event& event) {
  if (event.capture && !event.capture->ended) {
    event.capture->invalidated = true;
    throw Error(code::kCapturedEvent, "the event was recorded in a capture");
  }
}

void record(Simulator& simulated, Event& event, Stream& stream) {
  if (event.context != stream.context) {
    throw Error(code::kInvalidHandle, "the event and the stream are of different contexts");
  }
  if (stream.capture) {
    stream.capture->require_valid();
    event.capture = stream.capture;
    event.nodes = stream.frontier;
    return;
  }
  event.capture = nullptr;
  event.recorded = simulated.enqueue(stream, {"cuEventRecord", nullptr, false});
}

void wait(Simulator& simulated, Stream& stream, const Event& event) {
  if (event.capture) {
    if (event.capture->ended) {
      throw Error(code::kInvalidValue, "the event is of a capture that has ended");
    }
    return join_capture(stream, event.capture, event.nodes);
  }
  if (stream.capture) {
    if (!event.recorded) return;
    stream.capture->invalidated = true;
    throw Error(code::kCaptureIsolation, "the event was recorded outside the capture");
  }
  if (event.recorded) {
    simulated.enqueue(stream, {"cuStreamWaitEvent", nullptr, false}, {event.recorded});
  }
}

void elapsed(Simulator& simulated, float* milliseconds, Handle start, Handle end) {
  const auto first = event_of(simulated, start);
  const auto last = event_of(simulated, end);
  if (((first->flags | last->flags) & kEventDisableTiming) != 0) {
    throw Error(code::kInvalidHandle, "an event without timing");
  }
  if (!first->recorded || !last->recorded) {
    throw Error(code::kInvalidHandle, "an event that was not recorded");
  }
  if (!first->recorded->done() || !last->recorded->done()) throw Error(code::kNotReady);
  const std::chrono::duration<float, std::milli> time =
      last->recorded->done_at - first->recorded->done_at;
  *milliseconds = time.count();
}

}  // namespace

CUDASIM_API Result cuStreamCreate(Handle* stream, unsigned flags) {
  return create_stream("cuStreamCreate", stream, flags, 0);
}
CUDASIM_API Result cuStreamCreateWithPriority(Handle* stream, unsigned flags, int priority) {
  return create_stream("cuStreamCreateWithPriority", stream, flags, priority);
}
CUDASIM_API Result cuStreamDestroy_v2(Handle handle) {
  return call("cuStreamDestroy", [&](Simulator& simulated) {
    const auto stream = simulated.streams.at(handle);
    if (stream->capture) stream->capture->invalidated = true;
    if (stream->blocking()) stream->context->orphans.push_back(stream->last);
    simulated.streams.remove(handle);
  });
}
CUDASIM_API Result cuStreamSynchronize(Handle handle) {
  return call("cuStreamSynchronize", [&](Simulator& simulated) {
    const auto stream = simulated.stream(handle);
    refuse_while_captured(*stream);
    simulated.queue.finish(stream->last);
  });
}
CUDASIM_API Result cuStreamQuery(Handle handle) {
  return call("cuStreamQuery", [&](Simulator& simulated) {
    const auto stream = simulated.stream(handle);
    refuse_while_captured(*stream);
    if (!simulated.queue.poll(stream->last)) throw Error(code::kNotReady);
  });
}
CUDASIM_API Result cuStreamWaitEvent(Handle handle, Handle event, unsigned flags) {
  return call("cuStreamWaitEvent", [&](Simulator& simulated) {
    if (flags != 0) throw Error(code::kInvalidValue, "unknown flags");
    wait(simulated, *simulated.stream(handle), *event_of(simulated, event));
  });
}
CUDASIM_API Result cuStreamGetFlags(Handle handle, unsigned* flags) {
  return call("cuStreamGetFlags",
              [&](Simulator& simulated) { *flags = simulated.stream(handle)->flags; });
}
CUDASIM_API Result cuStreamGetPriority(Handle handle, int* priority) {
  return call("cuStreamGetPriority",
              [&](Simulator& simulated) { *priority = simulated.stream(handle)->priority; });
}
CUDASIM_API Result cuStreamGetCtx(Handle handle, Handle* context) {
  return call("cuStreamGetCtx",
              [&](Simulator& simulated) { *context = simulated.stream(handle)->context->handle; });
}
CUDASIM_API Result cuLaunchHostFunc(Handle handle, void (*function)(void*), void* argument) {
  return call("cuLaunchHostFunc", [&](Simulator& simulated) {
    simulated.enqueue(*simulated.stream(handle),
                      {"cuLaunchHostFunc",
                       [=] {
                         in_host_function() = true;
                         function(argument);
                         in_host_function() = false;
                       },
                       false});
  });
}

CUDASIM_API Result cuEventCreate(Handle* out, unsigned flags) {
  return call("cuEventCreate", [&](Simulator& simulated) {
    auto event = std::make_shared<Event>();
    event->context = simulated.current();
    event->flags = flags;
    *out = simulated.events.add(event);
  });
}
CUDASIM_API Result cuEventDestroy_v2(Handle handle) {
  return call("cuEventDestroy", [&](Simulator& simulated) { simulated.events.remove(handle); });
}
CUDASIM_API Result cuEventRecord(Handle handle, Handle stream) {
  return call("cuEventRecord", [&](Simulator& simulated) {
    record(simulated, *event_of(simulated, handle), *simulated.stream(stream));
  });
}
CUDASIM_API Result cuEventSynchronize(Handle handle) {
  return call("cuEventSynchronize", [&](Simulator& simulated) {
    const auto event = event_of(simulated, handle);
    refuse_captured(*event);
    simulated.queue.finish(event->recorded);
  });
}
CUDASIM_API Result cuEventQuery(Handle handle) {
  return call("cuEventQuery", [&](Simulator& simulated) {
    const auto event = event_of(simulated, handle);
    refuse_captured(*event);
    if (!simulated.queue.poll(event->recorded)) throw Error(code::kNotReady);
  });
}
CUDASIM_API Result cuEventElapsedTime(float* milliseconds, Handle start, Handle end) {
  return call("cuEventElapsedTime",
              [&](Simulator& simulated) { elapsed(simulated, milliseconds, start, end); });
}
CUDASIM_API Result cuEventElapsedTime_v2(float* milliseconds, Handle start, Handle end) {
  return cuEventElapsedTime(milliseconds, start, end);
}
