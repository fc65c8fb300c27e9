#include "simulator.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
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

/// Gives the interpreter's lock away while it lives: a call may wait for an operation that another
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
  if (simulated.settings.leaks_path.empty()) return;
  std::ofstream file(simulated.settings.leaks_path, std::ios::app);
  for (const std::string& line : simulated.faults.lines()) file << line << '\n';
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

int shared_opt_in(int capability) {
  switch (capability) {
    case 75:
      return 64 << 10;
    case 80:
    case 87:
      return 163 << 10;
    case 90:
    case 100:
      return 227 << 10;
    default:
      return 99 << 10;
  }
}

void Simulator::open_memory() {
  const Entered entered;
  memory.unlock();
}

void Simulator::shut_memory() {
  const Entered entered;
  memory.lock();
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
  if (settings.devices == 0) throw Error(code::kNoDevice);
  if (ready_) return;
  memory.open(settings.memory, settings.host_guard);
  queue.open(settings.seed, settings.slow_copies);
  injections.parse(settings.fail);
  install_traps();
  std::atexit(report_at_exit);
  ready_ = true;
}

std::shared_ptr<Context> Simulator::create_context(unsigned flags, bool is_primary) {
  auto context = std::make_shared<Context>();
  context->flags = flags;
  context->primary = is_primary;
  context->handle = contexts.add(context);
  auto legacy = std::make_shared<Stream>();
  legacy->context = context;
  legacy_[context->handle] = std::move(legacy);
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
  legacy_.erase(context->handle);
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
  // What a lost device had cannot be freed.
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
    lines.push_back((range.registered ? "registered" : "page-locked") +
                    std::string(" host memory of ") + std::to_string(range.bytes) + " bytes");
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
  if (handle == kNullStream || handle == kLegacyStream) return legacy_.at(current()->handle);
  if (handle == kPerThreadStream) {
    throw Error(code::kNotSupported, "the stream of a thread is not simulated");
  }
  auto found = streams.at(handle);
  require_current(*found, "stream");
  return found;
}

std::vector<OperationPtr> Simulator::order_of(const Stream& stream) const {
  std::vector<OperationPtr> after{stream.last};
  const bool legacy = &stream == legacy_.at(stream.context->handle).get();
  if (legacy) {
    const auto& orphans = stream.context->orphans;
    after.insert(after.end(), orphans.begin(), orphans.end());
    for (const auto& [handle, other] : streams.live()) {
      if (other->context == stream.context && other->blocking()) after.push_back(other->last);
    }
  } else if (stream.blocking()) {
    after.push_back(stream.context->last_legacy);
  }
  return after;
}

OperationPtr Simulator::enqueue(Stream& stream, Work work, std::vector<OperationPtr> after) {
  if (stream.capture) {
    stream.frontier = {stream.capture->add(std::move(work), stream.frontier)};
    return nullptr;
  }
  const bool legacy = &stream == legacy_.at(stream.context->handle).get();
  if (legacy) {
    for (const auto& [handle, other] : streams.live()) {
      if (!other->capture || other->context != stream.context || !other->blocking()) continue;
      other->capture->invalidated = true;
      throw Error(code::kCaptureImplicit,
                  "work on the default stream while a blocking stream captures");
    }
  }
  const auto order = order_of(stream);
  after.insert(after.end(), order.begin(), order.end());
  OperationPtr operation = queue.add(std::move(work), stream.context, std::move(after));
  stream.last = operation;
  if (legacy) {
    stream.context->last_legacy = operation;
    stream.context->orphans.clear();
  }
  queue.run_ahead();
  return operation;
}

void Simulator::forbid_in_capture() {
  for (const auto& [handle, stream] : streams.live()) {
    const auto& capture = stream->capture;
    if (!capture || capture->mode == kCaptureRelaxed) continue;
    if (capture->mode == kCaptureThreadLocal && capture->thread != std::this_thread::get_id()) {
      continue;
    }
    capture->invalidated = true;
    throw Error(code::kCaptureUnsupported, "not allowed while a stream captures");
  }
}

void Simulator::invalidate_captures() {
  for (const auto& [handle, stream] : streams.live()) {
    if (stream->capture) stream->capture->invalidated = true;
  }
}

}  // namespace cudasim
