#include "simulator.h"

#include <cstdlib>
#include <utility>

#include "traps.h"

// Python's, where the process is one.
extern "C" {
__attribute__((weak)) int PyGILState_Check();
__attribute__((weak)) void* PyEval_SaveThread();
__attribute__((weak)) void PyEval_RestoreThread(void*);
__attribute__((weak)) int Py_IsInitialized();
}

namespace cudasim {
namespace {

/// Releases the interpreter's lock while it lives: a call may wait for an operation that another
/// thread runs and that is a Python function.
class WithoutInterpreter {
 public:
  WithoutInterpreter() {
    if (Py_IsInitialized != nullptr && Py_IsInitialized() != 0 && PyGILState_Check() != 0) {
      state_ = PyEval_SaveThread();
    }
  }
  ~WithoutInterpreter() {
    if (state_ != nullptr) PyEval_RestoreThread(state_);
  }
  WithoutInterpreter(const WithoutInterpreter&) = delete;
  WithoutInterpreter& operator=(const WithoutInterpreter&) = delete;

 private:
  void* state_ = nullptr;
};

void report_at_exit() {
  Simulator& simulated = simulator();
  for (const std::string& leak : simulated.leaks(0)) simulated.faults.add("leak at exit: " + leak);
}

}  // namespace

Simulator& simulator() {
  static auto* const instance = new Simulator;
  return *instance;
}

std::vector<std::shared_ptr<Context>>& context_stack() {
  thread_local std::vector<std::shared_ptr<Context>> stack;
  return stack;
}

bool& in_host_function() {
  thread_local bool inside = false;
  return inside;
}

void refuse_in_capture(Stream& stream, Result code, const char* text) {
  if (!stream.capture) return;
  stream.capture->invalidated = true;
  throw Error(code, text);
}

Result not_simulated(const char* name) {
  return call(
      name, Needs::kNothing, [](Simulator&) { throw Error(code::kNotSupported, "not simulated"); });
}

void Simulator::enter() {
  if (mutex_.try_lock()) return;
  const WithoutInterpreter without;
  mutex_.lock();
}

void Simulator::wait_for_change() {
  const WithoutInterpreter without;
  std::unique_lock lock(mutex_, std::adopt_lock);
  changed.wait(lock);
  lock.release();
}

void Simulator::init() {
  if (ready_) return;
  memory.open();
  install_traps();
  std::atexit(report_at_exit);
  ready_ = true;
}

std::shared_ptr<Context> Simulator::create_context() {
  auto context = std::make_shared<Context>();
  context->handle = contexts.add(context);
  default_streams_[context->handle] = std::make_shared<Stream>(Stream{context, nullptr, nullptr});
  return context;
}

void Simulator::destroy_context(const std::shared_ptr<Context>& context) {
  queue.finish(*context);
  for (const std::string& leak : leaks(context->handle)) {
    faults.add("leak at the end of a context: " + leak);
  }
  const auto drop = [&](auto& table) {
    std::vector<Handle> handles;
    for (const auto& [handle, object] : table.live()) {
      if (object->context == context) handles.push_back(handle);
    }
    for (const Handle handle : handles) table.remove(handle);
  };
  drop(streams);
  drop(events);
  drop(functions);
  drop(modules);
  drop(graph_execs);
  std::vector<DevicePtr> addresses;
  for (const auto& [address, allocation] : memory.live()) {
    if (allocation.context == context->handle) addresses.push_back(address);
  }
  for (const DevicePtr address : addresses) memory.free(address);
  context->destroyed = true;
  default_streams_.erase(context->handle);
  contexts.remove(context->handle);
}

std::shared_ptr<Context> Simulator::current() const {
  const auto& stack = context_stack();
  if (stack.empty() || !stack.back()) {
    throw Error(code::kInvalidContext, "no context is current in this thread");
  }
  if (stack.back()->destroyed) {
    throw Error(code::kInvalidContext, "the current context was destroyed");
  }
  return stack.back();
}

std::vector<std::string> Simulator::leaks(Handle context) const {
  std::vector<std::string> lines;
  // Resources of a lost device cannot be freed.
  const auto wanted = [&](Handle owner) {
    const auto found = contexts.live().find(owner);
    const bool lost = found != contexts.live().end() && found->second->sticky != code::kSuccess;
    return !lost && (context == 0 || owner == context);
  };
  for (const auto& [address, allocation] : memory.live()) {
    if (!wanted(allocation.context)) continue;
    lines.push_back("device allocation number " + std::to_string(allocation.number) + " of " +
                    std::to_string(allocation.bytes) + " bytes");
  }
  for (const auto& [address, range] : host.ranges()) {
    if (!wanted(range.context)) continue;
    lines.push_back("page-locked host memory of " + std::to_string(range.bytes) + " bytes");
  }
  const auto list = [&](const auto& table, const char* kind) {
    std::size_t count = 0;
    for (const auto& [handle, object] : table.live()) count += wanted(object->context->handle);
    if (count > 0) lines.push_back(std::to_string(count) + " " + kind);
  };
  list(streams, "stream(s)");
  list(events, "event(s)");
  list(graph_execs, "executable graph(s)");
  return lines;
}

std::shared_ptr<Stream> Simulator::stream(Handle handle) {
  if (handle == kNullStream) return default_streams_.at(current()->handle);
  auto found = streams.at(handle);
  require_current(*found, "stream");
  return found;
}

OperationPtr Simulator::enqueue(Stream& stream, Work work, std::vector<OperationPtr> after) {
  if (stream.capture) {
    if (stream.capture->invalidated) {
      throw Error(code::kCaptureInvalidated, "an earlier call invalidated the capture");
    }
    stream.capture->nodes.push_back(std::move(work));
    return nullptr;
  }
  after.push_back(stream.last);
  stream.last = queue.add(std::move(work), stream.context, std::move(after));
  queue.run_ahead();
  return stream.last;
}

void Simulator::forbid_in_capture() {
  for (const auto& [handle, stream] : streams.live()) {
    if (!stream->capture || stream->capture->thread != std::this_thread::get_id()) continue;
    refuse_in_capture(*stream, code::kCaptureUnsupported, "not allowed while a stream captures");
  }
}

}  // namespace cudasim
